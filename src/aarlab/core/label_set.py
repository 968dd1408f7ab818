"""Which testbeds are of one label set? What was released of its labels is counted in one place,
whichever code made the testbed.

Other code than before makes a new testbed beside the old one, in NAME-codeDIGITS; another version
of a problem in a folder, in NAME-vVERSION-DIGEST-seedN. What shows whether its labels are the old
ones is the labels themselves, or the secrets of the grader: a hash of the items changes with a
field that a new version adds to them.
"""

import glob
import json
import re
from collections.abc import Iterator
from pathlib import Path

from aarlab.core.layout import TestbedFolder

# folders of `private` in which is counted what was released about the labels
METERS = ("meter", "confirmations")
# how the folder of a testbed ends that other code made again
_OTHER_CODE = re.compile("-code[0-9a-f]+$")
_OTHER_VERSION = re.compile(r"-v[A-Za-z0-9._-]{1,20}-[0-9a-f]{12}(?=-seed[0-9]+$)")


def same_labels(one: Path, other: Path) -> bool:
    """Are two testbeds' folders of one label set? Of one name but for the code, and with the same
    labels on `feedback`."""
    if one.name == other.name:
        return True
    labels = _feedback(one)
    return _stem(one) == _stem(other) and labels is not None and labels == _feedback(other)


def _stem(folder: Path) -> str:
    """A testbed's name without what its code or its version adds."""
    return _OTHER_VERSION.sub("", _OTHER_CODE.sub("", folder.name))


def of_same_labels(problem: Path) -> Iterator[Path]:
    """The folders beside a testbed's that are of its label set, its own first."""
    yield problem
    stem = _stem(problem)
    near = {
        problem.with_name(stem),
        *problem.parent.glob(f"{glob.escape(stem.partition('-')[0])}*"),
    }
    for folder in sorted(near - {problem}):
        if _stem(folder) == stem and same_labels(folder, problem):
            yield folder


def _feedback(problem: Path) -> object:
    """What is hidden of `feedback`: labels by id, or a digest of the grader's secrets; None where
    there is nothing that can be read."""
    testbed = TestbedFolder(problem)
    try:
        if testbed.served.exists():
            return json.loads(testbed.served.read_text())["secrets"]
        return json.loads(testbed.answers.read_text())["feedback"] or None
    except (OSError, ValueError, KeyError, TypeError):
        return None
