"""A folder of somebody else is verified before anything of it is believed."""

import pytest
from typer.testing import CliRunner

from aarlab.cli.main import app
from aarlab.core.layout import CampaignFolder
from aarlab.core.records import Family
from aarlab.evaluation.detectors import DETECTORS
from aarlab.evaluation.evaluator import Evaluator
from aarlab.redteam.system import SMALL, random_labels, write_problem

OWN = """\
from pathlib import Path

from aarlab.evaluation.detectors import DETECTORS

Path(MARK).touch()


@DETECTORS.add("never raises")
class Never:
    def __init__(self, context):
        pass

    def opening(self):
        return []

    def see(self, one):
        return []
"""


@pytest.fixture
def theirs(tmp_path):
    """A campaign with one submission, and a detector of its own that marks that it was run."""
    problem = write_problem(tmp_path / "random-seed0", random_labels(SMALL))
    place = CampaignFolder(tmp_path / "theirs")
    with Evaluator(problem, place.root) as evaluator:
        code = evaluator.commit_code("ann", {"method.py": "1"}, Family.OTHER)
        answers = {str(seed): "01" * (SMALL.items // 2) for seed in code["seeds"]}
        evaluator.submit("ann", code["snapshot"], answers, Family.OTHER)
    place.settings.write_text("name: theirs\ndetectors: [own.py]\n")
    (place.root / "own.py").write_text(OWN.replace("MARK", repr(str(tmp_path / "ran"))))
    assert place.server.derived.exists()
    before = {name: DETECTORS[name] for name in DETECTORS}
    yield place.root, problem
    for name in set(DETECTORS) - set(before):
        del DETECTORS._things[name]
    DETECTORS._files.clear()


def test_verify_runs_no_code_that_the_folder_names(theirs, tmp_path):
    folder, problem = theirs
    command = ["ledger", "verify", str(folder), "--problem", str(problem)]
    plain = CliRunner().invoke(app, command)
    assert plain.exit_code == 0, plain.output
    assert "1 submissions graded again" in plain.output
    assert (
        f"own detectors. Read them, then give them: --detector {folder / 'own.py'}" in plain.output
    )
    assert not (tmp_path / "ran").exists()
    given = CliRunner().invoke(app, [*command, "--detector", str(folder / "own.py")])
    assert (tmp_path / "ran").exists()
    assert "Read them" not in given.output
