"""Write a problem's items to public/, sealed/ and private/. An allow-list decides what leaves the
evaluator's side.

public/    problem.json, student.jsonl, feedback.jsonl, the data card (of problems that name the
           source of their items) and the arrays that set-up adds. Each kind of item has an
           allow-list (`Pair.PUBLISHED`, `Choice.PUBLISHED`): no label, no rating, no level, no part
sealed/    inputs/final.jsonl without labels, mode 0700: for a confirmation's sandbox, never for a
           researcher
private/   answers.json, items.jsonl, anchors.npz, baselines.npz, shortcuts.json (how well character
           counts and length alone predict the final labels; of problems with a data card): only for
           the evaluator, mode 0700
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import TypeAdapter

from aarlab.core.layout import InputsFolder, PublicFolder, TestbedFolder
from aarlab.core.records import SPLITS, AnyItem, SplitName
from aarlab.problems.item_groups import groups_of
from aarlab.problems.problem import Problem, check_problem
from aarlab.problems.study.card import Built, data_card, markdown
from aarlab.problems.study.shortcuts import shortcut_accuracy

_ANY: TypeAdapter[AnyItem] = TypeAdapter(AnyItem)
PUBLISHED_SPLITS: dict[SplitName, str] = {
    "student": "public",
    "feedback": "public",
    "final": "sealed/inputs",
}
EVALUATED: tuple[SplitName, ...] = ("feedback", "final")


def publish(
    problem: Problem, items: Sequence[AnyItem], folder: Path, *, data_seed: int, student: str = ""
) -> None:
    """Write the problem's three folders. `student`: the names of the student and its teacher, for
    the card.

    Raises:
        Misconfigured: the items fail `check_problem`.
    """
    check_problem(items)
    made = TestbedFolder(folder)
    public, sealed = PublicFolder(made.public), made.sealed.parent
    for path, mode in (
        (made.public, 0o755),
        (sealed, 0o700),
        (made.sealed, 0o755),
        (made.private, 0o700),
    ):
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(mode)
    for split, where in PUBLISHED_SPLITS.items():
        rows = [{f: getattr(i, f) for f in i.PUBLISHED} for i in items if i.split == split]
        if rows:
            _write_lines(InputsFolder(folder / where).items(split), rows)
    answers = {s: {i.id: i.label for i in items if i.split == s} for s in SPLITS}
    made.answers.write_text(json.dumps(answers))
    _write_lines(made.items, [i.model_dump() for i in items])
    found = publish_groups(items, folder)
    card = {
        "name": problem.name,
        "version": problem.version,
        "data_seed": data_seed,
        "card": problem.card,
        "in_distribution": problem.id_source,
        "out_of_distribution": problem.ood_source,
        "student": student,
        "transfer_only": problem.transfer_only,
        "items": {s: sum(i.split == s for i in items) for s in SPLITS},
        "groups": {s: _counted(group) for s, group in found.items()},
    }
    public.card.write_text(json.dumps(card, indent=1))
    if isinstance(items, Built):
        described = data_card(problem.name, problem.version, data_seed, items, items.provenance)
        public.data_card.write_text(described.model_dump_json(indent=1), encoding="utf-8")
        public.data_words.write_text(markdown(described), encoding="utf-8")
        made.shortcuts.write_text(json.dumps(shortcut_accuracy(items), indent=1))


def publish_groups(items: Sequence[AnyItem], folder: Path) -> dict[str, dict[str, str]]:
    """Write private/groups.json, {split: {item id: group}} of the evaluated items with dependent
    labels (see `groups_of`)."""
    found = {s: groups_of([i for i in items if i.split == s]) for s in EVALUATED}
    TestbedFolder(folder).groups.write_text(json.dumps(found))
    return found


def _counted(group: Mapping[str, str]) -> dict[str, int]:
    """The number of items in groups of two or more, the number of such groups, and the size of
    the largest."""
    sizes = Counter(group.values())
    return {"items": len(group), "groups": len(sizes), "largest": max(sizes.values(), default=0)}


def read_private_items(folder: Path) -> list[AnyItem]:
    """All items with their truth, in published order. Only set-up and the report call this."""
    lines = TestbedFolder(folder).items.read_bytes().split(b"\n")
    return [_ANY.validate_json(line) for line in lines if line]


def _write_lines(path: Path, rows: Sequence[dict]) -> None:
    """One object a line, in ASCII: Unicode has characters that some readers take for the end of a
    line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
