"""Items -> public/ and private/. What leaves the evaluator's side is an allow-list; everything else stays private.

public/    problem.json, student.jsonl, feedback.jsonl, the data card (of problems that say where their items are from) and
           the arrays that setup adds; each kind of item has its own allow-list
           (`Pair.PUBLISHED`, `Choice.PUBLISHED`): no label, no rating, no level, no part
sealed/    in inputs/, final.jsonl without labels, mode 0700: given to a confirmation's sandbox, never to a researcher
private/   answers.json, items.jsonl, anchors.npz, baselines.npz, shortcuts.json (what character counts and length alone tell of
           the final truth; of problems with a data card): the evaluator's alone, mode 0700
"""

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter

from aarlab.core.records import SPLITS, AnyItem, SplitName
from aarlab.problems.problem import Problem, check_problem
from aarlab.problems.study.card import Built, data_card, markdown
from aarlab.problems.study.shortcuts import shortcut_accuracy

_ANY: TypeAdapter[AnyItem] = TypeAdapter(AnyItem)
PUBLISHED_SPLITS: dict[SplitName, str] = {"student": "public", "feedback": "public", "final": "sealed/inputs"}


def publish(problem: Problem, items: Sequence[AnyItem], folder: Path, *, data_seed: int, student: str = "") -> None:
    """Write the problem's three folders. `student`: who reads it and who teaches, in words, for the card.

    Raises:
        Misconfigured: the items fail `check_problem`.
    """
    check_problem(items)
    for name, mode in (("public", 0o755), ("sealed", 0o700), ("sealed/inputs", 0o755), ("private", 0o700)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name).chmod(mode)
    for split, where in PUBLISHED_SPLITS.items():
        rows = [{f: getattr(i, f) for f in i.PUBLISHED} for i in items if i.split == split]
        if rows:
            _write_lines(folder / where / f"{split}.jsonl", rows)
    answers = {s: {i.id: i.label for i in items if i.split == s} for s in SPLITS}
    (folder / "private" / "answers.json").write_text(json.dumps(answers))
    _write_lines(folder / "private" / "items.jsonl", [i.model_dump() for i in items])
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
    }
    (folder / "public" / "problem.json").write_text(json.dumps(card, indent=1))
    if isinstance(items, Built):
        described = data_card(problem.name, problem.version, data_seed, items, items.provenance)
        (folder / "public" / "data_card.json").write_text(described.model_dump_json(indent=1), encoding="utf-8")
        (folder / "public" / "DATA.md").write_text(markdown(described), encoding="utf-8")
        (folder / "private" / "shortcuts.json").write_text(json.dumps(shortcut_accuracy(items), indent=1))


def read_private_items(folder: Path) -> list[AnyItem]:
    """All items with their truth, in published order. Only set-up and the report call this."""
    lines = (folder / "private" / "items.jsonl").read_text().splitlines()
    return [_ANY.validate_json(line) for line in lines]


def _write_lines(path: Path, rows: Sequence[dict]) -> None:
    """One object a line, in ASCII: Unicode has characters that some readers take for the end of a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
