"""Attackers on what an evaluator remembers: its meter is reset or rolled back to give the budget
again, and a second server is started on its folder."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from aarlab.core.errors import Misconfigured
from aarlab.core.layout import CampaignFolder, TestbedFolder
from aarlab.evaluation import derived
from aarlab.evaluation.audit import Files, audit, load_key
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.ledger.ledger import Read
from aarlab.evaluation.scoring.meter import Meter, Reached
from aarlab.evaluation.scoring.policies import DEFAULT_POLICY, POLICIES
from aarlab.fleet.evaluator_process import EvaluatorProcess
from aarlab.redteam.on_evaluator import flipped, send
from aarlab.redteam.served import API, POLICY, body, commit, served
from aarlab.redteam.system import SYSTEM, AttackRow, AttackScale, random_labels, write_problem

# shares of wrong answers, before and after the older copy is taken
EARLY, LATE = (0.5, 0.48), (0.1, 0.3, 0.45, 0.5)
PAGE = 4096  # of SQLite
TURNS = 3


@dataclass(frozen=True)
class SpentLabels:
    """A label set about which bits were released: its state after kill -9, and an older copy of
    the meter."""

    folder: Path  # with problem/ and campaign/
    older: Path
    items: int

    def copy(self, number: int) -> "SpentLabels":
        """The same to try something on."""
        made = self.folder.with_name(f"copy-{number}")
        shutil.copytree(self.folder, made)
        return SpentLabels(made, self.older, self.items)

    @property
    def meter(self) -> Path:
        """The meter's file."""
        return TestbedFolder(self.folder / "problem").meter

    def restore(self, name: str) -> None:
        """Put the older copy in the place of the meter or of the whole campaign."""
        place = {"meter": self.meter.parent, "campaign": self.folder / "campaign"}[name]
        shutil.rmtree(place)
        shutil.copytree(self.older / name, place)


def _spent(folder: Path, scale: AttackScale) -> SpentLabels:
    labels_M, rng = random_labels(scale), np.random.default_rng(scale.seed)
    live, older = folder / "live", folder / "older"
    problem, campaign = write_problem(live / "problem", labels_M), live / "campaign"
    with Evaluator(problem, campaign) as evaluator:
        for share in EARLY:
            send(evaluator, "eve", flipped(labels_M, share, rng))
        shutil.copytree(TestbedFolder(problem).meter.parent, older / "meter")
        shutil.copytree(campaign, older / "campaign")
        for share in LATE:
            send(evaluator, "eve-2", flipped(labels_M, share, rng))
        shutil.copytree(live, folder / "killed")
    return SpentLabels(folder / "killed", older, scale.items)


def _served_bits(
    spent: SpentLabels, campaign: str = "campaign", *, read_only: bool = False
) -> float | str:
    """What an evaluator that is started now says was released; or the words with which it
    refuses."""
    try:
        with Evaluator(
            spent.folder / "problem", spent.folder / campaign, read_only=read_only
        ) as evaluator:
            return evaluator.meter.channel.released
    except Misconfigured as error:
        return str(error)


def _alone_bits(spent: SpentLabels) -> float | None:
    """What the meter by itself would serve, without the ledger's word against it; None where it
    does not open."""
    try:
        meter = Meter(spent.meter, POLICIES[DEFAULT_POLICY], baseline=0.55, n=spent.items)
    except Misconfigured:
        return None
    try:
        return meter.channel.released
    finally:
        meter.close()


def _tried(
    folder: Path, scale: AttackScale, ways: dict[str, Callable[[SpentLabels], str | None]]
) -> tuple[dict, dict, float]:
    """(what a started evaluator says, what the meter alone would serve) by way, and the bits that
    were spent. A way changes the files, and may name another campaign to start."""
    spent = _spent(folder, scale)
    whole = _served_bits(spent.copy(0))
    assert isinstance(whole, float)
    said, alone = {}, {}
    for number, (name, change) in enumerate(ways.items(), start=1):
        one = spent.copy(number)
        said[name] = _served_bits(one, change(one) or "campaign")
        control = spent.copy(100 + number)
        change(control)
        alone[name] = _alone_bits(control)
    return said, alone, whole


def _row(
    attack: str,
    folder: Path,
    scale: AttackScale,
    ways: dict[str, Callable[[SpentLabels], str | None]],
) -> AttackRow:
    said, alone, whole = _tried(folder, scale, ways)
    served = {name: bits for name, bits in said.items() if not isinstance(bits, str)}
    fresh = [
        f"{name}: {bits:.2f}" for name, bits in alone.items() if bits is not None and bits < whole
    ]
    return AttackRow(
        attack=attack,
        tried=f"after {whole:.2f} bits were released: {', '.join(ways)}",
        came_back=f"{len(said) - len(served)} of {len(said)} starts refused"
        + (f"; served: {served}" if served else ""),
        held=not served and bool(fresh),
        evidence=(
            "bits that the meter without the ledger's word would have gone on from: "
            f"{', '.join(fresh)}"
        ),
    )


def _delete(spent: SpentLabels) -> None:
    shutil.rmtree(spent.meter.parent)


def _delete_file(spent: SpentLabels) -> None:
    for path in spent.meter.parent.glob(f"{spent.meter.name}*"):
        path.unlink()


def _delete_and_rename(spent: SpentLabels) -> str:
    _delete(spent)
    return "another-campaign"


def _empty(spent: SpentLabels) -> None:
    _delete_file(spent)
    spent.meter.touch()


@SYSTEM.add("reset meter")
def reset(folder: Path, scale: AttackScale) -> AttackRow:
    """`private/meter` was deleted, and the evaluator served a fresh budget while its own ledger
    knew better."""
    ways = {
        "the folder deleted": _delete,
        "the file deleted": _delete_file,
        "an empty file": _empty,
        "deleted, and another campaign begun beside the first": _delete_and_rename,
    }
    return _row("reset meter", folder, scale, ways)


def _older(spent: SpentLabels) -> None:
    spent.restore("meter")


def _older_for_another(spent: SpentLabels) -> str:
    spent.restore("meter")
    return "another-campaign"


def _without_wal(spent: SpentLabels) -> None:
    for end in ("-wal", "-shm"):
        spent.meter.with_name(spent.meter.name + end).unlink(missing_ok=True)


def _noise(spent: SpentLabels) -> None:
    """Noise over the pages that hold the answers, once the log was written into them."""
    meter = Meter(spent.meter, POLICIES[DEFAULT_POLICY], baseline=0.55, n=spent.items)
    meter.close()
    data = bytearray(spent.meter.read_bytes())
    noise = np.random.default_rng(0).bytes(PAGE)
    for at in range(PAGE, len(data) - PAGE + 1, PAGE):
        if b"eve" in data[at : at + PAGE]:  # an answer's row
            data[at + PAGE // 2 : at + PAGE] = noise[PAGE // 2 :]
    spent.meter.write_bytes(bytes(data))


@SYSTEM.add("rolled-back meter")
def rolled_back(folder: Path, scale: AttackScale) -> AttackRow:
    """An older copy, a meter without its write-ahead log, a page of noise: each served a budget
    that was spent."""
    ways = {
        "an older copy": _older,
        "an older copy, and another campaign": _older_for_another,
        "without the write-ahead log": _without_wal,
        "noise in its pages": _noise,
    }
    return _row("rolled-back meter", folder, scale, ways)


@SYSTEM.add("rolled-back meter and ledger")
def rolled_back_together(folder: Path, scale: AttackScale) -> AttackRow:
    """Meter and campaign are put back together: they agree, and only a copy of the checkpoints that
    lies elsewhere knows."""
    spent = _spent(folder, scale)
    _served_bits(spent)  # it signs what no checkpoint covers
    witness = folder / "witness.txt"
    shutil.copy(CampaignFolder(spent.folder / "campaign").checkpoints.checkpoints, witness)
    key = load_key(CampaignFolder(spent.folder / "campaign").checkpoints.public_key)
    for name in ("meter", "campaign"):
        spent.restore(name)
    served = _served_bits(spent)
    files = Files(spent.folder / "campaign", spent.folder / "problem")
    alone, with_witness = audit(files, key).faults, audit(files, key, [witness]).faults
    return AttackRow(
        attack="rolled-back meter and ledger",
        tried="meter, ledger and checkpoints put back together from one older copy",
        came_back=(
            f"{len(with_witness)} faults by a copy of checkpoints.txt that lies elsewhere, "
            f"{len(alone)} without"
        ),
        held=bool(with_witness),
        evidence=(
            f"the start: {served if isinstance(served, str) else f'served from {served:.2f} bits'}"
        ),
    )


class _Call:
    """As pickled, a folder that is made by whoever reads it."""

    def __init__(self, trace: Path) -> None:
        self._trace = str(trace)

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self._trace,)


@SYSTEM.add("a call in derived.state")
def call_in_state(folder: Path, scale: AttackScale) -> AttackRow:
    """A campaign's folder holds the secret that signs what a start believes. Whoever opened one of
    somebody else's, to continue or to report it, once ran what that file named."""
    spent = _spent(folder, scale)
    whole, trace = _served_bits(spent), folder / "trace"
    server = CampaignFolder(spent.folder / "campaign").server
    head, call = derived.head_of(server.root), pickle.dumps(_Call(trace))
    assert head is not None
    read = Read(head.entries, head.ledger, "", masked=True, levels=(), places={})
    said: list[float | str] = []
    for read_only in (False, True):
        derived.write(server.root, head.made_by, call, read, Reached(head.answers, head.meter))
        said.append(_served_bits(spent, read_only=read_only))
    ran = trace.exists()
    if not ran:
        pickle.loads(call)
    return AttackRow(
        attack="a call in derived.state",
        tried=(
            "a file under the campaign's own secret, of the same code and the same rows, that "
            "names a call; a start to continue, and one to report"
        ),
        came_back=(
            f"the call was {'' if ran else 'not '}run; the bits released are those of before: "
            f"{said == [whole, whole]}"
        ),
        held=not ran and said == [whole, whole],
        evidence=f"a reader that makes what it names runs the call: {trace.exists()}",
    )


@SYSTEM.add("two servers")
def two_servers(folder: Path, scale: AttackScale) -> AttackRow:
    """A second server on one folder gave receipt ids twice, and no verification ever passed
    again."""
    labels_M, rng = random_labels(scale), np.random.default_rng(scale.seed)
    campaign, ids = folder / "campaign", []
    with served(folder, labels_M) as server, ExitStack() as stack:
        holder, token, urls, words = (
            (campaign / "server" / "lock").read_text().split()[0],
            server.token("eve"),
            [server.url],
            "",
        )
        try:
            second = EvaluatorProcess(folder / "problem", campaign, policy=POLICY, takeover_s=0.0)
            stack.enter_context(second)
            urls.append(json.loads(second.lab.address.read_text())["url"])
        except Misconfigured as error:
            words = str(error)
        for turn in range(TURNS * len(urls)):
            headers = {"Authorization": f"Bearer {token}"}
            with httpx.Client(
                base_url=urls[turn % len(urls)], headers=headers, timeout=60, trust_env=False
            ) as eve:
                sent = body(commit(eve, f"# {turn}"), flipped(labels_M, 0.5, rng))
                ids.append(eve.post(f"{API}/submissions", json=sent).json()["id"])
    files = Files(folder / "campaign", folder / "problem")
    faults = audit(files, load_key(files.key)).faults
    return AttackRow(
        attack="two servers",
        tried=(
            f"a second server process on the folder of one that runs, then {len(ids)} submissions "
            "to those that answer"
        ),
        came_back=(
            f"the second {'was refused' if words else 'served'}; {len(set(ids))} receipt ids of "
            f"{len(ids)} submissions"
        ),
        held=bool(words) and not faults and len(set(ids)) == len(ids),
        evidence=(
            f"{len(faults)} faults when the record was verified; the refusal names the process "
            f"that has the folder: {holder in words}"
        ),
    )
