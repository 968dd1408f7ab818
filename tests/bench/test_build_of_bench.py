"""Which aarlab a bench says that it was measured by."""

import pytest

from aarlab.bench.run import run
from aarlab.bench.spec import Bench
from aarlab.core.errors import Misconfigured
from aarlab.core.own_code import this_build
from aarlab.core.settings import Home


def test_the_build_is_taken_before_anything_is_measured(tmp_path):
    """A bench of twenty minutes named the commit that was checked out while it ran."""
    this_build.cache_clear()
    with pytest.raises(Misconfigured, match="no method named"):
        run(Bench(tasks=("small-chat",), methods=("no such",)), Home(tmp_path), None)
    assert this_build.cache_info().currsize == 1
