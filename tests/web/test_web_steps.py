"""What a campaign does before its fleet starts and once that has ended, on the live page."""

from contextlib import nullcontext

from aarlab.fleet.campaign import Campaign
from aarlab.fleet.step_note import Noted
from aarlab.web.live_view import live_page
from aarlab.web.page_query import PageQuery
from tests.web.scenes import small


class Silent:
    """A display that shows nothing."""

    line = fleet = say = staticmethod(lambda *_: None)
    steps = staticmethod(nullcontext)


def test_the_step_that_goes_on_is_on_the_page_as_long_as_it_does(tmp_path):
    browser, folder = small(tmp_path), tmp_path / "campaigns" / "new"
    Campaign(name="new").save(folder)
    show, at = Noted(Silent(), folder), "/campaign/new/live.json"
    show.say("weights", 1, 4)
    assert browser.json(at)["step"] is None, "it is no step yet"
    with show.steps():
        for done in (5, 6):
            show.say("texts", done, 8)
        step = browser.json(at)["step"]
        assert (step["what"], step["done"], step["of"]) == ("texts", 5, 8), "6 came at once"
        assert "<strong>texts</strong>: 5 of 8" in browser.text("/campaign/new/runs")
    assert browser.json(at)["step"] is None


def test_a_campaign_confirms_once_its_process_has_ended_the_fleet(tmp_path, monkeypatch):
    campaign = small(tmp_path).pages.campaigns.get("small")
    state = campaign.state()
    over = tuple(m.model_copy(update={"state": "finished"}) for m in state.members)
    monkeypatch.setattr(campaign, "standing", lambda: "running (process 7)")
    for pid, members, said in (
        (7, state.members, "running"),
        (7, over, "confirming"),
        (8, over, "running"),
    ):
        spoken = state.model_copy(update={"pid": pid, "members": members})
        monkeypatch.setattr(campaign, "state", lambda spoken=spoken: spoken)
        page = live_page(campaign, PageQuery({}))
        assert page["state"] == f"{said} (process 7)"
        assert page["after_fleet"] == (said == "confirming")
