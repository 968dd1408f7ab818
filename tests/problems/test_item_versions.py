"""Problems whose items are made without a download: who changes the items gives them another
version, and enters both here. (small-code and the problems of files: in their own tests.)"""

import pytest

from aarlab.problems.problem import SELECTION_SEED
from aarlab.problems.registered import PROBLEMS
from tests.problems.item_digest import versioned


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "version", "digest"),
    [
        ("generated-chat", "1", "d9ef494d3a2ed240"),
        ("generated-checks", "1", "173ee537a15feb93"),
        ("small-math", "1", "a6225bf2159513eb"),
    ],
)
def test_items_change_with_the_version_alone(name, version, digest, tmp_path):
    items = PROBLEMS[name].build(tmp_path, SELECTION_SEED)
    assert versioned(name, items) == (version, digest)
