"""The context of detectors from a problem's public folder."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import Misconfigured
from aarlab.evaluation.detectors.contract import Context, Text


def read_context(
    public: Path, ids: Sequence[str], weak_M: NDArray[np.bool_] | None, code: Callable[[str], Mapping[str, str]]
) -> Context:
    """What detectors may know. Texts are None where feedback items are not published (nobody could use them there either).

    Raises:
        Misconfigured: published lines are unreadable, or not those of these ids.
    """
    lines = {path.stem: _read(path) for path in sorted(public.glob("*.jsonl"))}
    feedback = lines.pop("feedback", None)
    if feedback is not None and sorted(feedback) != list(ids):
        raise Misconfigured(f"{public / 'feedback.jsonl'} and the hidden answers have other ids. Set the testbed up again.")
    texts = None if feedback is None else tuple(feedback[i] for i in ids)
    return Context(tuple(ids), texts, {i: t for part in lines.values() for i, t in part.items()}, weak_M, code)


def _read(path: Path) -> dict[str, Text]:
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return {row["id"]: _text(row) for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Misconfigured(f"{path} is not what set-up publishes ({error}). Set the testbed up again.") from error


def _text(row: Mapping[str, Any]) -> Text:
    if "first" in row:
        return Text(row["prompt"], (row["first"], row["second"]))
    return Text(row["question"], (row["choice"],))
