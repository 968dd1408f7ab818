"""A user's own data made into items that can be set up: read from a file (`own_rows`), dealt into
splits, balanced by a stated rule; and a report of what was done.

Rules. A row without a `split` is dealt by the hash of its group, or else of its question, so that
nothing that belongs together is in two splits. A question of all rows, and one of more than a tenth
of pairs, is an instruction: such rows are dealt by their texts. `chosen` and `rejected` are a pair,
in the forms of `preference_rows`. Rows with a blank text, or with two answers that are the same
text, are left out, and so are rows of which a text is in an earlier one. Of each split x part x
level one half of the labels is 1: pairs are turned round (which answer is first says nothing), and
of an odd number the last is left out; of choices the surplus of one label is left out. What is
earlier, first and last is decided by the hash of an item's texts.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aarlab.core.errors import Misconfigured
from aarlab.core.records import SPLITS, AnyItem, Pair
from aarlab.core.settings import expanded
from aarlab.evaluation.scoring.bounds import inflation_bound
from aarlab.evaluation.scoring.policies import POLICIES, start
from aarlab.evaluation.scoring.units import Units
from aarlab.problems.from_file import KINDS, read_items
from aarlab.problems.item_groups import INSTRUCTION_LEAST, INSTRUCTION_SHARE
from aarlab.problems.own_rows import Row, rows_of
from aarlab.problems.preference_rows import CHOSEN, INPUT, PROMPTS, preference_of
from aarlab.problems.problem import check_problem

SHARES = {"teacher": 0.2, "student": 0.4, "feedback": 0.2, "final": 0.2}
FIELDS = {"label", "split", "part", "level", "group", *(n for k in KINDS for n in k.PUBLISHED[1:])}
FEWEST = 100  # independent labels on feedback, with fewer a step is above 0.05 accuracy
Cell = tuple[str, str, int]  # split, part, level


@dataclass(frozen=True)
class OwnItems:
    """Items that can be set up, and what was done to the rows. `cells`: before, how many labels 0
    and 1 of each cell there were; `implicit`: prompts that were what both answers begin with;
    `empty`, `repeated`: rows that were left out; `left_out`: fields that no item has."""

    items: list[AnyItem]
    cells: Mapping[Cell, tuple[int, int]]
    dropped: int
    turned: int
    dealt: int
    implicit: int
    empty: int
    repeated: int
    left_out: tuple[str, ...]

    def lines(self) -> str:
        """The items as JSON Lines, as `from_file` reads them."""
        return "".join(
            json.dumps(item.model_dump(exclude={"id"}, exclude_none=True), ensure_ascii=False)
            + "\n"
            for item in self.items
        )


def own_items(name: str) -> OwnItems:
    """Read a file and make items of its rows.

    Raises:
        Misconfigured: the file cannot be read, or a row is no item; with file and row.
    """
    path = expanded(name, "the file of items")
    unit, rows = rows_of(path)
    used = (
        FIELDS
        | {"id", *CHOSEN, *PROMPTS}
        | {INPUT for row in rows.values() if "instruction" in row}
    )
    ready, implicit = {}, 0
    for number, row in rows.items():
        try:
            ready[number], drawn = _as_item(row)
        except ValueError as error:
            raise Misconfigured(f"{path}, {unit} {number}: {error}. Correct it.") from error
        implicit += drawn
    if not ready:
        raise Misconfigured(f"{path} has no rows.")
    whole = {number: row for number, row in ready.items() if not _says_nothing(row)}
    if not whole:
        raise Misconfigured(f"{path}: each row has a blank text or two answers that are the same.")
    dealt_by = _deal(whole.values())
    found = list(read_items(_lines(whole), path, unit).values())
    once = _once(found)
    kept, turned = _balanced(once)
    check_problem(kept)
    _require_splits(path, kept, len(once), len(dealt_by))
    before = Counter((_cell(item), item.label) for item in once)
    return OwnItems(
        items=kept,
        cells={cell: (before[cell, 0], before[cell, 1]) for cell in sorted(map(_cell, once))},
        dropped=len(once) - len(kept),
        turned=turned,
        dealt=sum(row.get("split") is None for row in rows.values()),
        implicit=implicit,
        empty=len(ready) - len(whole),
        repeated=len(found) - len(once),
        left_out=tuple(sorted({key or "(no name)" for row in rows.values() for key in row} - used)),
    )


def _lines(rows: Mapping[int, Row]) -> bytes:
    """The rows as JSON Lines, each on the line of its number."""
    lines = [""] * max(rows, default=0)
    for number, row in rows.items():
        lines[number - 1] = json.dumps(row)
    return "\n".join(lines).encode()


def _as_item(row: Row) -> tuple[Row, bool]:
    """A row with the fields of an item alone; and whether its prompt was what its answers begin
    with.

    Raises:
        ValueError: an answer is neither a text nor a conversation, or there is no such split.
    """
    made = {key: value for key, value in row.items() if key in FIELDS and value is not None}
    if not any(name in row for name in (*CHOSEN, *(n for k in KINDS for n in k.PUBLISHED[2:]))):
        raise ValueError(
            "it has neither chosen and rejected, nor prompt, first and second with a label, nor "
            "question and choice with a label"
        )
    found = None if "first" in row else preference_of(row)
    if found is not None:
        for name in PROMPTS:
            made.pop(name, None)
        made |= {"prompt": found.prompt, "first": found.chosen, "second": found.rejected}
        made["label"] = 0
    if made.get("split", SPLITS[0]) not in SPLITS:
        raise ValueError(
            f"split {made['split']!r:.40} is none of {', '.join(SPLITS)}; rows without `split` are "
            "dealt"
        )
    for name in ("group", "level"):  # pandas writes 3.0 where another row has none
        value = made.get(name)
        if type(value) in (int, float) and value == value // 1:
            made[name] = str(int(value)) if name == "group" else int(value)
    return made, found is not None and found.implicit is True


def _says_nothing(row: Row) -> bool:
    """Whether a text of a row is blank, or both of its answers are the same text."""
    texts = [row[n] for kind in KINDS for n in kind.PUBLISHED[1:] if isinstance(row.get(n), str)]
    blank = any(not text.strip() for text in texts)
    return blank or ("first" in row and row["first"] == row.get("second"))


def _once(items: Sequence[AnyItem]) -> list[AnyItem]:
    """The items without those of which a text, or a question with its answer, is in an earlier
    one."""
    seen: set[str] = set()
    kept: list[AnyItem] = []
    for item in sorted(items, key=lambda item: item.id):
        texts = item.choices if isinstance(item, Pair) else (f"{item.question}\n{item.choice}",)
        if seen.isdisjoint(texts):
            kept.append(item)
        seen.update(texts)
    return kept


def _deal(rows: Collection[Row]) -> set[str]:
    """Put rows without a split into one; what they were dealt by, each of which is in one split."""
    asked = [row.get("question", row.get("prompt")) for row in rows]
    times = Counter(map(repr, asked))
    most = max(INSTRUCTION_LEAST, INSTRUCTION_SHARE * len(rows))
    dealt_by = set()
    for row, question in zip(rows, asked, strict=True):
        if "split" not in row:
            instruction = len(times) == 1 or ("first" in row and times[repr(question)] > most)
            by = row.get("group") or (row if instruction else question) or row
            together = json.dumps(by, sort_keys=True, default=str)
            row["split"] = _dealt(together)
            dealt_by.add(together)
    return dealt_by


def _dealt(together: str) -> str:
    """A split, by a hash of what belongs together."""
    at = int.from_bytes(hashlib.sha256(together.encode(errors="replace")).digest()[:6]) / (1 << 48)
    for split in SPLITS:
        at -= SHARES[split]
        if at < 0:
            return split
    return SPLITS[-1]


def _require_splits(path: Path, kept: Sequence[AnyItem], rows: int, dealt_by: int) -> None:
    """Refuse items that cannot be set up. An author who states splits may leave out feedback.

    Raises:
        Misconfigured: a split has no items.
    """
    needed = [split for split in SPLITS if dealt_by or split != "feedback"]
    if missing := [split for split in needed if all(item.split != split for item in kept)]:
        dealt = (
            f"Rows without `split` were dealt by {dealt_by:,} different groups or questions, each "
            "of which is in one split. "
            if dealt_by
            else ""
        )
        raise Misconfigured(
            f"{path}: of {rows:,} rows, {rows - len(kept):,} were left out so that half of the "
            f"labels are 1, and no item is in the split {' and '.join(missing)}. {dealt}Give more "
            "rows of both labels, or write their `split`."
        )


def _cell(item: AnyItem) -> Cell:
    return item.split, item.part, item.level


def _balanced(items: Sequence[AnyItem]) -> tuple[list[AnyItem], int]:
    """(items of which half have label 1 in each cell, how many were turned round)."""
    cells: dict[Cell, list[AnyItem]] = defaultdict(list)
    for item in sorted(items, key=lambda item: item.id):
        cells[_cell(item)].append(item)
    kept: list[AnyItem] = []
    for some in cells.values():
        if isinstance(some[0], Pair):
            half = len(some) // 2
            kept += [_with_label(item, int(n >= half)) for n, item in enumerate(some[: 2 * half])]
        else:
            by_label = [[item for item in some if item.label == label] for label in (0, 1)]
            half = min(map(len, by_label))
            kept += [item for part in by_label for item in part[:half]]
    labels = {item.id: item.label for item in items}
    turned = sum(item.label != labels[item.id] for item in kept)
    return sorted(kept, key=lambda item: item.id), turned


def _with_label(item: AnyItem, label: int) -> AnyItem:
    if item.label == label or not isinstance(item, Pair):
        return item
    return item.model_copy(update={"first": item.second, "second": item.first, "label": label})


def size_words(items: Sequence[AnyItem]) -> str:
    """What the default policy guarantees on so many feedback items, as text."""
    some = [item for item in items if item.split == "feedback"]
    if not some:
        return "No item is in feedback: the problem is for transfer only."
    group = {item.id: item.group for item in some if item.group is not None}
    units = Units.of([item.id for item in some], group, {item.id: _cell(item) for item in some})
    channel = start(0.5, units)
    outlook = POLICIES["default"].outlook(channel, "researcher-1")
    cap, step = outlook.cap_bits or 0.0, outlook.next_step - channel.level
    bound = inflation_bound(cap, units.independent, slack_bits=outlook.slack_bits)
    words = (
        f"feedback has {units.independent:,} independent labels: a level rises by {step:.3f} "
        f"accuracy or more, and is at most {bound:.2f} above the truth when all {cap:.0f} bits are "
        "spent."
    )
    few = f" That is too coarse to be worth it: have at least {FEWEST} of them, better 1,000."
    return words + (few if units.independent < FEWEST else "")
