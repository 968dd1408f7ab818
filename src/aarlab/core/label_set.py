"""Which testbeds are of one label set? What was released of its labels is counted in one place,
whichever code made the testbed.

Other code than before makes a new testbed beside the old one, in NAME-codeDIGITS. What shows
whether its labels are the old ones is the labels themselves: a hash of the items changes with a
field that a new version adds to them.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from aarlab.core.layout import TestbedFolder

# folders of `private` in which is counted what was released about the labels
METERS = ("meter", "confirmations")
# how the folder of a testbed ends that other code made again
_OTHER_CODE = re.compile("-code[0-9a-f]+$")


def same_labels(one: Path, other: Path) -> bool:
    """Are two testbeds' folders of one label set? Of one name but for the code, and with the same
    labels on `feedback`."""
    if one.name == other.name:
        return True
    first, second = (_OTHER_CODE.sub("", folder.name) for folder in (one, other))
    return first == second and (labels := _feedback(one)) is not None and labels == _feedback(other)


def of_same_labels(problem: Path) -> Iterator[Path]:
    """The folders beside a testbed's that are of its label set, its own first."""
    yield problem
    name = _OTHER_CODE.sub("", problem.name)
    for folder in sorted(
        {problem.with_name(name), *problem.parent.glob(f"{name}-code*")} - {problem}
    ):
        if same_labels(folder, problem):
            yield folder


def _feedback(problem: Path) -> Mapping[str, int] | None:
    """The hidden labels on `feedback` by id; None where there are none that can be read."""
    try:
        return json.loads(TestbedFolder(problem).answers.read_text())["feedback"] or None
    except (OSError, ValueError, KeyError, TypeError):
        return None
