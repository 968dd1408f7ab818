"""The whole path with the real student on the real ratings, as a user walks it. Marked: it
downloads 95 MB once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

AAR = [sys.executable, "-c", "from aarlab.cli.main import main; main()"]


@pytest.mark.process
@pytest.mark.real_model
def test_the_real_student_learns_from_a_weak_teacher(tmp_path):
    home = Path(os.environ.get("AAR_HOME", tmp_path))
    words = ["demo", "--set", "name=real", "--set", "minutes=0.7", "--set", "confirm=2"]
    # minutes of reading; the generated problem has them
    words += ["--set", "confirm_on_fresh=false", "--set", "transfer=[]"]
    done = subprocess.run(
        [*AAR, *words],
        env={**os.environ, "AAR_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    path = Path(done.stdout.strip().splitlines()[-1].removeprefix("report: "))
    report = json.loads((path.parent / "report.json").read_text())
    weak, ceiling = (report["anchors_final"][end] for end in ("weak", "ceiling"))
    assert ceiling["lower"] - weak["upper"] > 0.08
    assert ceiling["n"] >= 1900
    final = {b["name"]: b["final"]["pgr"]["estimate"] for b in report["baselines"]}
    assert 0.05 < final["naive"] < 0.6
    assert final["zero-shot"] < 0.1, "the pairs are drawn so that it says nothing"
    assert final["elicitation"] < final["naive"]
    assert report["claims"]
    assert all(c["final"] for c in report["claims"])
    assert {c["verdict"] for c in report["claims"]} <= {
        "confirmed",
        "not distinguishable from tuned naive",
    }
    assert not any(
        name in (path.parent / "report.md").read_text() for name in ("NOT isolated", "double")
    )
