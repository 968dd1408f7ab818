"""A stream that fails ends nothing: the work goes on, and what could not be shown is said."""

import contextlib
import json
import os
import subprocess
import sys

import pytest
from typer.main import get_command

from aarlab.cli.main import app

pytestmark = pytest.mark.process

AAR = [sys.executable, "-c", "from aarlab.cli.main import main; main()"]
DOING = "demo run confirm report bench redteam items export init stop rm extend message hide pause"
CHECKING = "reproduce controls grade simulate doctor continue"
RECORDS = ("verify", "prove", "restore-meter", "backup")

WORKS = """
import os, sys
from aarlab.core.standard_output import only_showing, open_streams

open_streams()

@only_showing()
def work():
    for number in range(3):
        print("a dot \\u00b7 and half \\ud83d", "x" * 100_000, flush=True)
    with open(sys.argv[1], "w") as file:
        file.write("done")

work()
"""


def worked(tmp_path, shell: str, **env: str) -> tuple[int, str, str]:
    """Exit status, stderr, and what the work wrote."""
    made = tmp_path / "made"
    done = subprocess.run(
        ["sh", "-c", f'"$0" -c "$1" "$2" {shell}', sys.executable, WORKS, str(made)],
        env=os.environ | env,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stderr, made.read_text()


@pytest.mark.parametrize(
    ("shell", "words"),
    [
        ("", ""),
        ("> /dev/full", "Standard output failed (No space left on device)"),
        (">&- <&-", ""),
        ("> /dev/full 2> /dev/full", ""),
    ],
)
def test_work_goes_on_whatever_becomes_of_its_output(tmp_path, shell, words):
    status, said, made = worked(tmp_path, shell, PYTHONIOENCODING="ascii")
    assert (status, made) == (0, "done")
    assert said.startswith(words)
    assert "Traceback" not in said


def test_a_pipe_that_nobody_reads_ends_nothing(tmp_path):
    made = tmp_path / "made"
    with subprocess.Popen(
        [sys.executable, "-c", WORKS, str(made)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        child.stdout.close()
        assert b"Traceback" not in child.stderr.read()
    assert (child.returncode, made.read_text()) == (0, "done")


def test_items_are_written_and_a_check_is_no_failure_where_nobody_reads_the_output(tmp_path):
    """Rich ends a program whose pipe is closed with status 1, which is that of a failed check."""
    rows = [{"prompt": f"{n}?", "chosen": f"a {n}", "rejected": f"b {n}"} for n in range(100)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for words in ("items a.jsonl --out b.jsonl", "problem new mine"):
        with subprocess.Popen(
            [*AAR, *words.split()],
            cwd=tmp_path,
            env=os.environ | {"AAR_HOME": str(tmp_path / "home")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as child:
            child.stdout.close()
            said = child.stderr.read()
        assert (child.returncode, "Standard output failed" in said) == (0, True), said
    assert (tmp_path / "b.jsonl").exists()
    assert (tmp_path / "mine" / "problem.yaml").exists()


@pytest.mark.parametrize(
    "words", [*DOING.split(), *CHECKING.split(), *map("ledger {}".format, RECORDS)]
)
def test_commands_that_do_or_check_something_end_with_it(words):
    command = get_command(app)
    for word in words.split():
        command = command.commands[word]
    layers, function = [], command.callback
    while function := getattr(function, "__wrapped__", None):
        layers.append(function.__code__.co_filename)
    assert contextlib.__file__ in layers, "use @only_showing()"
