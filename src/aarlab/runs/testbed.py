"""Set-up of a testbed: problem -> published items, states, weak labels and anchors. Each step is kept and not repeated.

States are z-scored over the student split, so that one set of hyper-parameters serves every problem.
Legend: N items, C choices an item, D features, S seeds, M test items.
"""

import contextlib
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import Misconfigured
from aarlab.core.records import AnyItem, SplitName
from aarlab.core.settings import Home
from aarlab.labels.anchors import CEILING_SEED, SEEDS, Labelled, ceiling_correct, weak_correct
from aarlab.labels.teacher import TeacherView, train_teacher
from aarlab.problems import PROBLEMS
from aarlab.problems.publish import PUBLISHED_SPLITS, publish
from aarlab.runs.data import States, against_reference, inputs_of, write_states
from aarlab.runs.student import Reading, Say, Student

CLIP = 5.0  # standard deviations


@dataclass(frozen=True)
class Testbed:
    """A problem that is set up: where its folders are, and whether they were there already."""

    folder: Path
    from_cache: bool

    @property
    def public(self) -> Path:
        return self.folder / "public"

    @property
    def sealed(self) -> Path:
        return self.folder / "sealed" / "inputs"

    @property
    def private(self) -> Path:
        return self.folder / "private"

    @property
    def preset(self) -> str | None:
        """The name of the preset whose student is fine-tuned here; None where it is frozen."""
        told = self.public / "strong.json"
        return json.loads(told.read_text())["preset"] if told.exists() else None

    @property
    def ablation(self) -> str | None:
        """What was broken in this testbed on purpose; None in all others."""
        return json.loads((self.private / "ready.json").read_text()).get("ablation")

    @property
    def dealt_by(self) -> int:
        """The secret by which an ablated testbed deals texts to other items."""
        return json.loads((self.private / "ready.json").read_text())["dealt_by"]

    @property
    def fingerprint(self) -> str:
        """What the states and items are, as a hash: part of the key of everything that is computed from them."""
        return hashlib.sha256((self.private / "ready.json").read_bytes()).hexdigest()[:24]

    def require_publishable(self) -> None:
        """Raise where researchers may not see this problem.

        Raises:
            Misconfigured: the problem is reserved for transfer, or the student is trained in the screening tier.
        """
        if self.preset is not None and json.loads((self.public / "strong.json").read_text())["screening"]:
            words = "is in the screening tier, which ranks ideas and never enters a leaderboard"
            raise Misconfigured(f"{self.folder.name} {words}. Take a preset without screen_layers for a campaign.")
        card = json.loads((self.public / "problem.json").read_text())
        if card["transfer_only"]:
            raise Misconfigured(
                f"'{card['name']}' is reserved for transfer: researchers never see it. Run the campaign on another problem."
            )


def prepare(problem: str, data_seed: int, *, home: Home, student: Student, say: Say, in_secret: bool = False) -> Testbed:
    """Set a problem up, or find it set up. In secret, a rebuildable problem is drawn by the data seed and a secret of this
    home: whoever has the generator's code cannot make its answers anew.

    Raises:
        Misconfigured, Transient: see the problem's `build` and the student's `read`.
    """
    chosen = PROBLEMS[problem]
    secret = in_secret and chosen.rebuildable
    folder = home.problems / f"{chosen.name}-v{chosen.version}-{student.name}-seed{data_seed}{'-secret' if secret else ''}"
    ready = folder / "private" / "ready.json"
    if ready.exists():
        _refuse_other_models(ready, student)
        return Testbed(folder, from_cache=True)
    say("items", 0, 1)
    drawn_by = _in_secret(home, problem, data_seed) if secret else data_seed
    items = chosen.build(home.cache, drawn_by)
    publish(chosen, items, folder, data_seed=data_seed, student=student.words)
    reading = student.read(chosen, items, drawn_by, say)
    say("weak labels and anchors", 0, 1)
    _publish_states(items, reading, folder)
    labelled = by_heads(items, reading) if student.label is None else student.label(items, say)
    _publish_labels(items, labelled, folder)
    if student.told:
        (folder / "public" / "strong.json").write_text(json.dumps(student.told))
    say("weak labels and anchors", 1, 1)
    facts = {"features": reading.fingerprint, "items": _digest(items), "student": student.name}
    ready.write_text(json.dumps(facts | {"models": student.identity(), "labels": _of_labels(folder)}))
    return Testbed(folder, from_cache=False)


def _refuse_other_models(ready: Path, student: Student) -> None:
    found, now = json.loads(ready.read_text()).get("models", ""), student.identity()
    if found != now:
        raise Misconfigured(
            f"{ready.parent.parent.name} was set up with models whose files were others ({found}; now {now}). Put them back, "
            "or give the changed ones another name in the preset."
        )


def _of_labels(folder: Path) -> str:
    """Weak labels and anchors, as a hash."""
    paths = (folder / "public" / "weak_probs.npy", folder / "public" / "critic_probs.npy", folder / "private" / "anchors.npz")
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def _in_secret(home: Home, problem: str, data_seed: int) -> int:
    """A seed that only this home can know."""
    path = home.root / "draw.secret"
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(secrets.token_bytes(32))
    found = path.read_bytes()
    if len(found) != 32:
        raise Misconfigured(
            f"{path} is damaged: what confirmations are drawn by. Restore it, or remove it with problems/*-secret."
        )
    return int.from_bytes(hmac.digest(found, f"{problem}|{data_seed}".encode(), "sha256")[:8], "big")


def _digest(items: Sequence[AnyItem]) -> str:
    return hashlib.sha256("".join(i.model_dump_json() for i in items).encode()).hexdigest()


def _rows(items: Sequence[AnyItem]) -> dict[SplitName, list[int]]:
    """Split -> the rows of its items, for the splits that the problem has."""
    splits: tuple[SplitName, ...] = ("teacher", *PUBLISHED_SPLITS)
    return {s: found for s in splits if (found := [n for n, i in enumerate(items) if i.split == s])}


def _publish_states(items: Sequence[AnyItem], reading: Reading, folder: Path) -> None:
    rows = _rows(items)
    for split, states in _states(reading, rows).items():
        if split != "teacher":
            write_states(folder / PUBLISHED_SPLITS[split], split, states)


def _publish_labels(items: Sequence[AnyItem], labelled: Labelled, folder: Path) -> None:
    """Weak labels beside the published items; anchors, in the order of sorted ids (as grades are), beside the answers."""
    np.save(folder / "public" / "weak_probs.npy", labelled.weak_probs_TN)
    np.save(folder / "public" / "critic_probs.npy", labelled.critic_probs_TN)
    anchors = {}
    for split in labelled.weak_correct:
        order = np.argsort(np.array([i.id for i in items if i.split == split]))
        anchors[f"{split}_weak_SM"] = labelled.weak_correct[split][:, order]
        anchors[f"{split}_ceiling_SM"] = labelled.ceiling_correct[split][:, order]
    np.savez(folder / "private" / "anchors.npz", **anchors)


def by_heads(items: Sequence[AnyItem], reading: Reading) -> Labelled:
    """Weak labels and anchors where teacher and student are heads on what was read."""
    rows = _rows(items)
    labels = {split: np.array([items[i].label for i in r]) for split, r in rows.items()}
    views, states = _views(reading, rows), _states(reading, rows)
    teachers = [train_teacher(views["teacher"], labels["teacher"], seed) for seed in range(SEEDS)]
    inputs = {s: inputs_of([items[i] for i in rows[s]], states[s]) for s in rows.keys() - {"teacher"}}
    tested = [s for s in rows if s not in ("teacher", "student")]
    seeds = range(CEILING_SEED, CEILING_SEED + SEEDS)
    return Labelled(
        weak_probs_TN=np.stack([t.weak_probs(views["student"]) for t in teachers]),
        critic_probs_TN=np.stack([t.critic_probs(views["student"]) for t in teachers]),
        weak_correct={s: weak_correct(teachers, views[s], labels[s]) for s in tested},
        ceiling_correct={s: ceiling_correct(inputs["student"], labels["student"], inputs[s], labels[s], seeds) for s in tested},
    )


def _views(reading: Reading, rows: dict[SplitName, list[int]]) -> dict[SplitName, TeacherView]:
    teacher = _z_scored(reading.teacher_NCE, rows["student"])
    favour = against_reference(_centred(reading.favour_NC, rows["student"]))
    return {s: TeacherView(against_reference(teacher[r]), favour[r, 1] - favour[r, 0]) for s, r in rows.items()}


def _states(reading: Reading, rows: dict[SplitName, list[int]]) -> dict[SplitName, States]:
    """The state at a layer: the mean hidden state there beside the surprisal profile, every feature of equal weight."""
    profile = _z_scored(reading.profile_NCP, rows["student"])
    layers = {
        layer: np.concatenate([_z_scored(h, rows["student"]), profile], axis=2).astype(np.float16)
        for layer, h in reading.hidden.items()
    }
    favour = _centred(reading.favour_NC, rows["student"])
    return {s: States({layer: x[r] for layer, x in layers.items()}, favour[r]) for s, r in rows.items()}


def _z_scored(values_NCD: NDArray, rows: Sequence[int]) -> NDArray[np.float32]:
    """Each feature in standard deviations from its mean, both taken over the choices of the student split; clipped."""
    reference = values_NCD[rows].astype(np.float64)
    z = (values_NCD - reference.mean(axis=(0, 1))) / (reference.std(axis=(0, 1)) + 1e-6)
    return np.clip(z, -CLIP, CLIP).astype(np.float32)


def _centred(favour_NC: NDArray, rows: Sequence[int]) -> NDArray[np.float32]:
    """Favour above the student split's median, so that a single choice is compared with the middling one."""
    return (favour_NC - np.median(favour_NC[rows])).astype(np.float32)
