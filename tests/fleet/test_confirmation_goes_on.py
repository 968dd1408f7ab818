"""A confirmation of a problem in a folder that is interrupted goes on where it was."""

import pytest
from rich.console import Console

from aarlab.cli.show import Show
from aarlab.core.layout import CampaignFolder, GradingsFolder, Home
from aarlab.evaluation.evaluator import Evaluator
from aarlab.fleet import final_runs
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.run_folder import confirmed_in_folder
from aarlab.runs.trial_scores import measure_files
from tests.fleet.test_folder_campaign import GOOD, HALF, submit_code
from tests.fleet.test_folder_campaign import folder as folder
from tests.fleet.test_folder_campaign import served as served

pytestmark = [pytest.mark.process, pytest.mark.long]


def test_what_was_run_before_a_confirmation_was_interrupted_is_not_run_again(
    folder, served, monkeypatch
):
    home = Home(served.folder.parents[1])
    campaign = Campaign(name="cut", problem=str(folder), mode="code", confirm=2)
    campaign.save(home.campaigns / "cut")
    submit_code(served, home.campaigns / "cut", {"ann": GOOD, "bob": HALF})
    asked, ended = [], []

    def measured(grader, files, split, seeds, box, *, at):
        asked.append((str(grader.prepared.root), tuple(files.items()), seeds))
        if len(asked) in {2, 4}:
            raise KeyboardInterrupt
        found = measure_files(grader, files, split, seeds, box, at=at)
        ended.append(asked[-1])
        return found

    monkeypatch.setattr(final_runs, "measure_files", measured)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            confirmed_in_folder(campaign, served, home, Show(Console(quiet=True)))
    confirmed_in_folder(campaign, served, home, Show(Console(quiet=True)))
    on_final = [one for one in ended if one[0] == str(served.prepared.root)]
    assert len(on_final) == len(set(on_final)) >= 3, "two claims and the baselines, each once"
    assert len(asked) == len(ended) + 2
    with Evaluator(served.folder, home.campaigns / "cut", read_only=True) as evaluator:
        assert len(evaluator.ledger.entries("confirmation")) == 2
    kept = GradingsFolder(CampaignFolder(home.campaigns / "cut").server.gradings).root
    assert not list(kept.glob("confirmation-*")), "the verdicts are on record"
