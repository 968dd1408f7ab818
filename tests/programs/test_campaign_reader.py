"""What a program reads of a campaign: the rows of its ledger, no exact score, and no trace."""

import builtins
import hashlib
import json
import re
from contextlib import ExitStack

import matplotlib as mpl
import pytest

import aarlab
from aarlab.core.errors import Misconfigured
from aarlab.core.hold import Hold
from aarlab.core.layout import CampaignFolder
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.programs.campaign_reader import CampaignReader
from aarlab.programs.table_rows import COLUMNS, TABLES
from tests.fleet.fleets import call, campaign_folder, confirmation

mpl.use("agg")


@pytest.fixture
def folder(tmp_path):
    """A campaign of three submissions, a confirmation and a model call without a price."""
    made = campaign_folder(tmp_path)
    ledger = Ledger(CampaignFolder(made).server.ledger)
    ledger.append(
        "confirmation", "evaluator", confirmation("s", "researcher-1", verdict="confirmed")
    )
    ledger.append("code", "researcher-1", {"snapshot": "s", "family": "ensemble", "bytes": 7})
    ledger.append("spend", "researcher-1", {"wall_s": 0.0, "usd": None, "call": call()})
    ledger.close()
    return made


@pytest.fixture
def reader(folder):
    return aarlab.open(folder)


@pytest.fixture
def golden_reader(tmp_path):
    """The finished campaign that version 0.1.0 wrote."""
    from tests.web.scenes import golden

    golden(tmp_path).pages.close()
    return aarlab.open(tmp_path / "campaigns" / "golden")


def test_rows_are_those_of_the_ledger(reader):
    rows = reader.rows("submissions")
    assert [row["receipt"] for row in rows] == ["r-000001", "r-000002", "r-000003"]
    assert [row["researcher"] for row in rows] == ["researcher-1", "researcher-2", "researcher-1"]
    assert [row["reported_level_pgr"] for row in rows] == [0.31, 0.31, 0.42]
    (settled,) = reader.rows("confirmations")
    assert (settled["verdict"], settled["confirmed_accuracy"]) == ("confirmed", 0.5)
    (experiment,) = reader.rows("experiments")
    # of two submissions of the same code, the one that reported the higher level
    assert (experiment["submissions"], experiment["receipt"]) == (2, "r-000003")
    assert (experiment["reported_level_pgr"], experiment["verdict"]) == (0.42, "confirmed")
    spend = reader.rows("spends")[-1]
    assert (spend["usd"], spend["model"], spend["output_tokens"]) == (None, "claude-opus-4-6", 40)


@pytest.mark.parametrize("table", TABLES)
def test_a_frame_has_the_rows_and_columns_of_its_table(reader, golden_reader, table):
    for one in (reader, golden_reader):
        frame, rows = getattr(one, table)(), one.rows(table)
        assert list(frame) == list(COLUMNS[table])
        assert len(frame) == len(rows)
        assert all(list(row) == list(COLUMNS[table]) for row in rows)
        assert str(frame["at"].dtype).endswith("UTC]")


def test_a_table_without_rows_has_its_columns(tmp_path):
    made = campaign_folder(tmp_path)
    frame = aarlab.open(made).confirmations()
    assert len(frame) == 0
    assert "verdict" in frame


def test_no_row_holds_an_exact_score(reader, golden_reader):
    for one in (reader, golden_reader):
        exact = set()
        ledger = Ledger(CampaignFolder(one.folder).server.ledger, read_only=True)
        for entry in ledger.each("submission"):
            body = entry.body
            exact |= {body["exact_accuracy"], body.get("exact_pgr")} - {None}
            exact -= {body["receipt"]["level_accuracy"], body["receipt"]["level_pgr"]}
        for entry in ledger.each("confirmation"):
            text = json.dumps(entry.body["record"])
            exact |= {float(x) for x in re.findall(r'"(?:estimate|accuracy)": (0\.\d{5,})', text)}
        ledger.close()
        exact = {value for value in exact if len(repr(value)) > 6}  # others are reported ones, too
        assert exact
        found = json.dumps([one.rows(table) for table in TABLES])
        assert [value for value in exact if repr(value) in found] == []


def test_a_reader_leaves_no_trace_and_keeps_nobody_out(reader):
    def state():
        files = sorted(p for p in reader.folder.rglob("*") if p.is_file())
        return [(p, hashlib.sha256(p.read_bytes()).hexdigest()) for p in files]

    before = state()
    for table in TABLES:
        reader.rows(table)
    assert not reader.running
    assert state() == before
    writer = Ledger(CampaignFolder(reader.folder).server.ledger)
    assert len(reader.rows("submissions")) == 3
    writer.append("finding", "researcher-1", {"kind": "result", "title": "t", "text": "x"})
    assert [row["title"] for row in reader.rows("findings")] == ["t"]
    writer.close()  # in order, as one file: no reader has it open
    assert not list(CampaignFolder(reader.folder).server.root.glob("*-wal"))


@pytest.mark.parametrize("which", ["lock", "server"])
def test_a_running_campaign_gives_no_report(golden_reader, which):
    place = CampaignFolder(golden_reader.folder)
    lock = place.lock if which == "lock" else place.server.lock
    with ExitStack() as stack:
        stack.enter_context(Hold(lock, str))
        assert golden_reader.running
        with pytest.raises(Misconfigured, match="runs. A report has exact scores"):
            golden_reader.report()
        assert golden_reader.rows("submissions")


def test_without_a_report_it_is_said_how_to_make_one(reader):
    with pytest.raises(Misconfigured, match=r"There is no report .*: `aar report small`"):
        reader.report()


def test_without_pandas_the_message_says_what_to_install(reader, monkeypatch):
    real = builtins.__import__

    def without(name, *given, **named):
        if name == "pandas":
            raise ImportError(name)
        return real(name, *given, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Misconfigured, match=r"aarlab\[frames\].*rows\('spends'\)"):
        reader.spends()
    assert len(reader.rows("spends")) == 3


def test_wrong_names_are_named(reader, tmp_path, monkeypatch):
    with pytest.raises(Misconfigured, match=r"no table 'board'. There are: submissions, rec"):
        reader.rows("board")
    monkeypatch.setenv("AAR_HOME", str(tmp_path / "home"))
    with pytest.raises(Misconfigured, match="There is no campaign 'nope'"):
        aarlab.open("nope")


def test_level_is_drawn_as_it_was_reported(reader):
    ax = reader.plot_level()
    step = next(line for line in ax.get_lines() if line.get_label() == "reported level")
    assert list(step.get_ydata()) == [0.31, 0.31, 0.42]
    (dots,) = (x for x in ax.get_lines() if x.get_label() == "improvement by researcher-1")
    assert list(dots.get_ydata()) == [0.31, 0.42]


def test_claimed_stands_beside_confirmed(reader):
    ax = reader.plot_claims()
    at = {str(x.get_label()): list(x.get_xdata()) for x in ax.get_lines()}
    assert at["confirmed, final"] == [0.5]
    assert at["claimed, feedback"] == [0.5 + 0.31 / 4]  # of the receipt that the claim cites
    assert [t.get_text() for t in ax.get_yticklabels()] == ["r-000001, researcher-1: confirmed"]


def test_a_name_is_no_formula(tmp_path):
    ax = CampaignReader(campaign_folder(tmp_path)).plot_claims()
    from aarlab.programs.campaign_axes import _plain

    assert _plain("$\\frac{a}$\n\x1b[1m") == r"\$\frac{a}\$"
    assert ax.get_xlabel()
