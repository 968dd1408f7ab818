"""docs/notebook.ipynb: its cells are those of the script that makes it, they were executed, and
they run."""

import json
import re
from pathlib import Path

import matplotlib as mpl
import pytest

from aarlab.core.layout import CampaignFolder
from aarlab.report.pages import write
from experiments.notebook import CELLS, NAME
from tests.programs.test_reproduce import CAMPAIGN, reported
from tests.programs.test_reproduce import folder as folder

mpl.use("agg")
NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"


@pytest.fixture(scope="module")
def cells():
    return json.loads(NOTEBOOK.read_text())["cells"]


def test_its_cells_are_those_of_the_script(cells):
    assert [(c["cell_type"], "".join(c["source"])) for c in cells] == list(CELLS)


def test_every_code_cell_was_executed_in_order_and_shows_something(cells):
    code = [c for c in cells if c["cell_type"] == "code"]
    assert [c["execution_count"] for c in code] == list(range(1, len(code) + 1))
    assert all(c["outputs"] for c in code)
    kinds = {output["output_type"] for c in code for output in c["outputs"]}
    assert kinds <= {"execute_result", "display_data", "stream"}
    streams = {o.get("name") for c in code for o in c["outputs"]} - {None}
    assert streams <= {"stdout"}, "no warnings"
    assert sum("image/png" in o.get("data", {}) for c in code for o in c["outputs"]) == 3


def test_it_names_no_place_of_the_machine_that_made_it(cells):
    assert not re.search(r"(?<![\w/])/(?:tmp|home|root|work|usr|var)\b", json.dumps(cells))


def test_its_code_cells_run(cells, bed, folder, monkeypatch):
    campaigns = folder.parent / "home" / "campaigns"
    campaigns.mkdir(parents=True)
    CAMPAIGN.model_copy(update={"name": NAME}).save(folder)
    write(reported(bed, folder), CampaignFolder(folder).report)
    folder.rename(campaigns / NAME)
    monkeypatch.setenv("AAR_HOME", str(campaigns.parent))
    space = {"__name__": "__main__"}
    for number, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), space)
    assert len(space["submissions"]) == 2
    assert list(space["confirmations"]["verdict"]) == [c.verdict for c in space["report"].claims]
