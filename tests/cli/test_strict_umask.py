"""A machine whose users hide what they write from others, as hardened ones do."""

import os
import subprocess
import sys

import pytest

AAR = [sys.executable, "-c", "from aarlab.cli.main import main; main()"]


@pytest.mark.process
@pytest.mark.long
def test_methods_run_where_the_umask_hides_files_from_others(tmp_path):
    words = ["--student", "double", "--task", "generated-chat", "--method", "naive", "--seeds", "2"]
    done = subprocess.run(
        [*AAR, "bench", *words],
        env={**os.environ, "AAR_HOME": str(tmp_path / "home")},
        umask=0o077,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700
