"""The context of detectors from a problem's public folder."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import Misconfigured
from aarlab.core.layout import InputsFolder, PublicFolder
from aarlab.evaluation.detectors.contract import Context, Text
from aarlab.evaluation.scoring.hidden_labels import read_rows


def read_context(
    public: Path,
    ids: Sequence[str],
    naive_M: NDArray[np.bool_] | None,
    code: Callable[[str], Mapping[str, str]],
) -> Context:
    """What detectors may know. Texts are None where feedback items are not published (nobody could
    use them there either).

    Raises:
        Misconfigured: published lines are unreadable, or not those of these ids.
    """
    lines = {
        path.stem: _read(path) for path in sorted(public.glob(PublicFolder(public).items("*").name))
    }
    feedback = lines.pop("feedback", None)
    if feedback is not None and sorted(feedback) != list(ids):
        raise Misconfigured(
            f"{PublicFolder(public).items('feedback')} and the hidden answers have other ids. Set "
            "the testbed up again."
        )
    texts = None if feedback is None else tuple(feedback[i] for i in ids)
    others = {i: t for part in lines.values() for i, t in part.items()}
    judged_M = None if feedback is None else _judged(public, list(feedback))
    return Context(tuple(ids), texts, others, naive_M, judged_M, code)


def _judged(public: Path, published: list[str]) -> NDArray[np.bool_] | None:
    """The student's own judgement of the feedback items, in the order of their sorted ids; None
    where it is not published."""
    path = InputsFolder(public).zero_shot_logits("feedback")
    if not path.exists():
        return None
    logit_MC = np.load(path)
    judged_M = logit_MC[:, -1] > (logit_MC[:, 0] if logit_MC.shape[1] == 2 else 0)
    return judged_M[np.argsort(np.array(published))]


def _read(path: Path) -> dict[str, Text]:
    try:
        return {row["id"]: _text(row) for row in read_rows(path)}
    except KeyError as error:
        raise Misconfigured(
            f"{path} is not what set-up publishes (no {error}). Set the testbed up again."
        ) from error


def _text(row: Mapping[str, Any]) -> Text:
    if "first" in row:
        return Text(row["prompt"], (row["first"], row["second"]))
    return Text(row["question"], (row["choice"],))
