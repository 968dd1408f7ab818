"""docs/problems.md is done as it says: its files are written and its commands run, in order."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "problems.md").read_text()
AAR = [sys.executable, "-c", "from aarlab.cli.main import main; main()"]
# commands; or the name of a file between backticks and a colon, and the file
STEPS = re.findall(r"```sh\n(.*?)```|`([\w./]+)`:\n\n```\w+\n(.*?)```", PAGE, re.DOTALL)
TEN_MINUTES = 600.0


def test_the_page_has_commands_and_files():
    files = [name for _, name, _ in STEPS if name]
    assert files == [
        "waiting/problem.yaml",
        "waiting/prepare.py",
        "waiting/grade.py",
        "waiting/baselines/median.py",
        "waiting/baselines/queue.py",
        "better.py",
    ]
    assert len(STEPS) - len(files) == 4


@pytest.mark.process
@pytest.mark.long
@pytest.mark.timeout(600)
def test_its_commands_lead_to_a_checked_problem_in_ten_minutes(tmp_path):
    begun, printed = time.monotonic(), []
    env = os.environ | {"AAR_HOME": str(tmp_path / "home"), "COLUMNS": "200"}
    for commands, name, text in STEPS:
        if name:
            (tmp_path / name).write_text(text)
        for command in commands.splitlines():
            argv = [*AAR, *command.removeprefix("aar ").split()]
            done = subprocess.run(
                argv, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
            printed.append(done.stdout)
    whole = "\n".join(printed)
    assert whole.count("waiting is admitted") == 3, "two checks, and the card"
    assert re.search(r"better\.py .*near: holds", whole)
    assert re.search(r"Baselines on final: queue .*The one to be beaten is queue", whole)
    assert time.monotonic() - begun < TEN_MINUTES
