"""What operators ask of a fleet that runs: it is checked, recorded once, and done; a fleet that is
started again knows it from the ledger."""

import json

import pytest

from aarlab.core.boot_clock import read_left
from aarlab.core.budget import Budget
from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.hold import Hold
from aarlab.core.layout import CampaignFolder
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.fleet import member, operator_orders, order_follower
from aarlab.fleet.campaign import Campaign, load
from aarlab.fleet.confirm import wanted
from aarlab.fleet.operator_orders import ask_for, submitted
from aarlab.fleet.raised_limits import extended, with_limits_of_ledger
from tests.fleet.fleets import submission
from tests.fleet.programs import Program, events, quicken, run_fleet

STOPS_WHEN_ASKED = (
    "import os, time\nprint('here', os.environ['LIFE'], flush=True)\ntry:\n"
    "  while True: time.sleep(0.02)\nexcept KeyboardInterrupt: print('in order', flush=True)"
)


# --- what is refused, and what holds already ------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """A campaign that this process runs, as its lock says; its evaluator answers nobody."""
    place = tmp_path / "small"
    fields = {"researchers": 2, "kind": "scripted", "budget": Budget(usd=5.0, tokens=1_000)}
    Campaign(name="small", minutes=10.0, **fields).save(place)
    CampaignFolder(place).server.root.mkdir()
    ledger = Ledger(CampaignFolder(place).server.ledger)
    ledger.append("code", "researcher-1", {"snapshot": "a" * 64, "family": "other", "bytes": 9})
    body = submission(1, improved=True, level=0.4, snapshot="a" * 64)
    ledger.append("submission", "researcher-1", body)
    finding = {"kind": "result", "title": "t", "text": "x", "family": "other", "receipts": []}
    ledger.append("finding", "researcher-1", finding | {"snapshot": None, "parent": None})
    ledger.close()
    with Hold(CampaignFolder(place).lock, str):
        yield place


@pytest.fixture
def recorded(monkeypatch, folder):
    """Orders go into the ledger without an evaluator."""
    made = []

    def record(place, event, detail, *, order, row_id=None):
        ledger = Ledger(CampaignFolder(place).server.ledger)
        body = {"event": event, "detail": detail}
        body["order"] = order.model_dump(mode="json", exclude_defaults=True)
        made.append((event, detail, row_id))
        seq = ledger.append("campaign", "operator", body).seq
        ledger.close()
        return seq

    monkeypatch.setattr(operator_orders, "record", record)
    return made


@pytest.mark.parametrize(
    ("act", "given", "error", "words"),
    [
        ("extend", {"limits": "minutes=5"}, Misconfigured, "minutes is 10 now and cannot become 5"),
        ("extend", {"limits": "budget.hours=5"}, Misconfigured, "budget.hours has no limit"),
        ("extend", {"limits": "budget.tokens=1000.5"}, Misconfigured, "is a whole number"),
        ("extend", {"limits": "name=5"}, Misconfigured, "'name' is no limit of a campaign"),
        ("extend", {"limits": "minutes"}, Misconfigured, "Write FIELD=NUMBER"),
        ("extend", {"limits": "minutes=nan"}, Misconfigured, "limits"),
        ("extend", {"limits": "minutes=inf"}, Misconfigured, "limits"),
        ("extend", {"limits": " "}, Misconfigured, "names its limits"),
        ("message", {"researcher": "researcher-3", "text": "x"}, Misconfigured, "no researcher"),
        ("message", {"researcher": "all", "text": ""}, Misconfigured, "names its text"),
        ("hide", {"finding": "f-000001"}, Misconfigured, "Near are: f-000003"),
        ("hide", {"finding": "f-000900"}, Misconfigured, "There is no finding 'f-000900'"),
        ("hide", {"finding": "../x"}, Misconfigured, "finding"),
        ("confirm", {"snapshot": "b"}, Misconfigured, "No submitted snapshot begins with 'b'"),
        ("confirm", {"snapshot": "r-000001"}, Misconfigured, "is a receipt. Its snapshot is aaa"),
        ("dance", {}, Misconfigured, "act"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_not_recorded(
    folder, recorded, act, given, error, words
):
    with pytest.raises(error, match=words.replace(".", r"\.")):
        ask_for(folder, act, given)
    assert recorded == []


def test_what_holds_already_is_recorded_once(folder, recorded):
    for act, given in (
        ("pause", {}),
        ("continue", {}),
        ("extend", {"limits": "minutes=20 budget.tokens=2000"}),
        ("hide", {"finding": "f-000003"}),
        ("show", {"finding": "f-000003"}),
        ("confirm", {"snapshot": "aaa"}),
    ):
        assert "of the ledger" in ask_for(folder, act, given)
        assert ask_for(folder, act, given).startswith("Nothing to do:")
    assert len(recorded) == 6


def test_the_same_message_has_the_same_id(folder, recorded):
    for text in ("one", "one", "two"):
        ask_for(folder, "message", {"researcher": "all", "text": text})
    ids = [row_id for _, _, row_id in recorded]
    assert ids[0] == ids[1] != ids[2]


def test_nobody_asks_a_campaign_that_nobody_runs_or_whose_evaluator_is_away(folder, tmp_path):
    with pytest.raises(Transient, match="takes no entries now"):
        ask_for(folder, "pause", {})
    with pytest.raises(Misconfigured, match="Nobody runs the campaign 'none'"):
        ask_for(tmp_path / "none", "pause", {})


def test_researchers_that_read_no_words_get_no_message(tmp_path):
    place = tmp_path / "small"
    Campaign(name="small").save(place)
    CampaignFolder(place).server.root.mkdir()
    Ledger(CampaignFolder(place).server.ledger).close()
    with Hold(CampaignFolder(place).lock, str), pytest.raises(Misconfigured, match="kind search"):
        ask_for(place, "message", {"researcher": "all", "text": "x"})


def test_a_campaign_that_is_resumed_has_the_limits_that_were_raised(folder, recorded):
    ask_for(folder, "extend", {"limits": "minutes=20 budget.tokens=2000 experiments=90"})
    begun = load(CampaignFolder(folder).settings)
    made = with_limits_of_ledger(begun, folder)
    assert (made.minutes, made.budget.tokens, made.experiments) == (20.0, 2000, 90)
    assert made.budget.usd == 5.0
    more = begun.model_copy(update={"minutes": 30.0})
    assert with_limits_of_ledger(more, folder).minutes == 30.0, "nothing is lowered"
    assert extended(begun, None) == begun


def test_a_snapshot_that_was_asked_for_is_confirmed_before_the_leaders(folder, recorded):
    ask_for(folder, "confirm", {"snapshot": "a"})
    ledger = Ledger(CampaignFolder(folder).server.ledger, read_only=True)
    assert wanted(ledger, None) == ["a" * 64, None]
    assert wanted(ledger, "b" * 64) == ["b" * 64]
    ledger.close()


# --- a fleet --------------------------------------------------------------------------------------


@pytest.fixture
def fleet(bed, tmp_path, monkeypatch):
    """A way to run a fleet: (why it ended, entries of the ledger)."""
    quicken(monkeypatch)
    monkeypatch.setattr(order_follower, "LOOK_S", 0.05)
    place = tmp_path / "campaign"

    def run(program, **given):
        shown = {name: given[name] for name in ("budget", "minutes") if name in given}
        bed_of = {"problem": "generated-chat", "student": "double"}
        Campaign(name="t", kind="search", **bed_of, **shown).save(place)
        monkeypatch.setattr(Campaign, "require_same", lambda *_: None)  # its kind is a test's
        with Hold(CampaignFolder(place).lock, str):
            return run_fleet(bed, place, program, **given)

    run.place = place
    return run


@pytest.mark.process
def test_a_fleet_that_is_paused_rests_and_goes_on(fleet):
    """Each incarnation ends in order, none is started, and the clock stands still."""
    asked, left = [], []
    logs = [fleet.place / "transcripts" / f"researcher-{n}" / "001.jsonl" for n in (1, 2)]

    def act(state, parts, made):
        said = {m.state for m in state.members}
        heeding = all(log.exists() and log.read_text().startswith("here 1") for log in logs)
        if not asked and said == {"running"} and heeding:
            asked.append(ask_for(fleet.place, "pause", {}))
        if len(asked) == 1 and said == {"paused"}:
            left.append(made._orders.clock.left_s)
            assert "aar continue t" in state.alarms[0]
            if len(left) > 5:
                asked.append(ask_for(fleet.place, "continue", {}))
        if len(asked) == 2 and said == {"running"}:
            left.append(read_left(CampaignFolder(fleet.place).server.budget))
            made._orders.clock.start(0)

    _, entries = fleet(Program(STOPS_WHEN_ASKED, "finished"), researchers=2, act=act, seconds=60.0)
    assert len(set(left[:-1])) == 1, "no second was charged"
    assert 0 < left[-1] <= left[0] + 0.1
    said = events(entries)
    assert said[1:] == ["running", "paused", "restarted", "stopped"]
    assert [log.read_text().split("\n")[:2] for log in logs] == [["here 1", "in order"]] * 2


@pytest.mark.process
@pytest.mark.long
def test_a_fleet_that_was_paused_stays_so_when_it_is_started_again(fleet):
    def pause(state, parts, made):
        if state.members[0].state == "running":
            ask_for(fleet.place, "pause", {})
        elif state.members[0].state == "paused":
            raise KeyboardInterrupt  # it is killed: nothing more is recorded by this one

    with pytest.raises(KeyboardInterrupt):
        fleet(Program(STOPS_WHEN_ASKED, "finished"), researchers=1, act=pause)
    seen = []

    def look(state, parts, made):
        seen.append(state.members[0].state)
        if seen.count("paused") == 3:
            ask_for(fleet.place, "continue", {})
        if state.members[0].state == "running":
            made._orders.clock.start(0)

    fleet(Program(STOPS_WHEN_ASKED, "finished"), researchers=1, act=look)
    assert "running" not in seen[: seen.index("paused") + 3]
    assert "running" in seen


@pytest.mark.long
@pytest.mark.process
def test_limits_are_raised_while_a_fleet_runs(fleet):
    """Who had finished goes on; the gateway, the lab's clock and the saved campaign know it."""
    asked = []

    def act(state, parts, made):
        if not asked and state.members[0].state == "finished":
            limits = "minutes=90 experiments=77 budget.usd=9.5"
            asked.append(ask_for(fleet.place, "extend", {"limits": limits}))

    first = "import os\nfirst = os.environ['LIFE'] == '1' and 'researcher-1' in os.getcwd()\n"
    first += "if first: raise SystemExit\n"
    program = Program(first + STOPS_WHEN_ASKED, "finished")

    def watch(state, parts, made):
        act(state, parts, made)
        if asked and state.members[0].state == "running" and state.members[0].incarnation == 2:
            seen.append(state)
            made._orders.clock.start(0)

    seen = []
    why, entries = fleet(
        program,
        researchers=2,
        act=watch,
        budget=Budget(usd=5.0),
        minutes=30.0,
        seconds=120.0,
    )
    assert why == "90 minutes are spent"
    assert events(entries)[1:4] == ["running", "ended: finished", "finished"]
    assert "restarted" in events(entries)
    assert seen[0].researcher_budget.usd == 9.5
    place = CampaignFolder(fleet.place)
    assert load(place.settings).experiments == 77
    brief = json.loads((place.briefs / "researcher-1" / "brief.json").read_text())
    assert brief["experiments"] == 77
    assert json.loads(place.gateway.settings.read_text())["researcher_budget"]["usd"] == 9.5


def test_a_program_that_does_not_end_at_a_pause_is_ended(monkeypatch):
    monkeypatch.setattr(member, "REST_S", 0.0)
    asked = []
    one = member.Member.__new__(member.Member)
    one.rest_at = None
    monkeypatch.setattr(member.Member, "ask_to_stop", lambda _: asked.append(1))
    assert [one.asked_to_rest(), one.asked_to_rest()][1]
    assert asked == [1], "it is asked once"


def test_every_row_says_what_it_does():
    for name, row in operator_orders.ASKS.items():
        assert row.event, name
        assert row.done, name
        assert not row.done.endswith("."), name


def test_a_snapshot_that_is_not_meant_is_the_operators_to_correct_with_what_there_is(folder):
    ledger = Ledger(CampaignFolder(folder).server.ledger)
    for letter, number in (("ab", 2), ("b", 3)):
        snapshot = f"{letter}{'c' * (64 - len(letter))}"
        ledger.append("code", "researcher-2", {"snapshot": snapshot, "family": "other", "bytes": 9})
        if number == 2:
            body = submission(number, improved=False, level=0.4, snapshot=snapshot)
            ledger.append("submission", "researcher-2", body)
    for prefix, words in (
        ("a", "2 submitted snapshots begin with 'a': aaaaaaaaaaaa, abcccccccccc. Give more"),
        ("bccc", "'bccc' was committed, and its author submitted nothing with it"),
        ("abcd", "begins with 'abcd'; 2 were submitted. Near are: abcccccccccc"),
        ("r-000002", "r-000002 is a receipt. Its snapshot is abcccccccccc: give that."),
    ):
        with pytest.raises(Misconfigured, match=words):
            submitted(folder, prefix)
    ledger.close()
