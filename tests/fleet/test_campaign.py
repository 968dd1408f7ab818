"""Real processes end to end: server, nine researchers in bubblewrap, confirmation, report; with the
double as student."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest
from rich.console import Console

from aarlab.cli.confirm_command import confirm
from aarlab.cli.run_command import campaign_of
from aarlab.cli.show import Show
from aarlab.core.errors import Misconfigured
from aarlab.core.records import VERDICTS, validated
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.evaluation.ledger.signed import verify_record
from aarlab.fleet.campaign import Campaign, load
from tests.processes import children_of
from tests.waiting import waited_for

pytestmark = pytest.mark.process

AAR = [sys.executable, "-c", "from aarlab.cli.main import main; main()"]
SMALL = ["problem=generated-chat", "student=double", "experiments=2", "ablate_components=0"]


def aar(home: Path, *words: str, **more) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "AAR_HOME": str(home), "COLUMNS": "200"}
    return subprocess.run(
        [*AAR, *words], env=env, capture_output=True, text=True, check=False, timeout=280, **more
    )


def fields(*words: str) -> list[str]:
    return [x for w in words for x in ("--set", w)]


def measures(thing):
    """Every number of a report that is not in the saved specification."""
    if isinstance(thing, dict):
        if "estimate" in thing:
            assert thing["lower"] <= thing["upper"]
            assert thing["n"] >= 1
            assert thing["resampled"]
            return
        for key, value in thing.items():
            if key not in {"campaign", "problem", "schema_version", "rank"}:
                measures(value)
    elif isinstance(thing, list):
        for value in thing:
            measures(value)
    else:
        assert not isinstance(thing, (int, float)) or isinstance(thing, bool)


@pytest.fixture(scope="module")
def finished(module_home):
    """A whole small campaign of nine, run once for this module, on the testbed that the session has
    set up."""
    home = module_home
    done = aar(home.root, "demo", *fields(*SMALL, "minutes=1.5", "name=whole"))
    assert done.returncode == 0, done.stdout + done.stderr
    return home.root / "campaigns" / "whole", done


def test_the_host_writes_nothing_into_a_researchers_home(finished):
    """Else a link left there would lead our writes, perhaps as root, to any file of the host."""
    folder, _ = finished
    homes = list((folder / "work").iterdir())
    assert {home.name for home in homes} == {f"researcher-{n}" for n in range(1, 10)}
    assert list((folder / "briefs").iterdir())
    for home in homes:
        assert {p.name for p in home.iterdir()} <= {"method.py", "answers.json", "progress.json"}
    assert not list((folder / "briefs").rglob("*token*")), (
        "a researcher is known by its socket and holds no token"
    )


def test_the_demo_ends_with_the_path_of_its_report(finished):
    folder, done = finished
    assert done.stdout.strip().splitlines()[-1] == f"report: {folder / 'report' / 'report.html'}"
    assert (folder / "report" / "report.md").read_text().startswith("# generated-chat")


def test_nine_researchers_submitted_shared_and_were_charged(finished):
    folder, _ = finished
    ledger = Ledger(folder / "server" / "ledger.sqlite")
    ledger.verify()
    for kind in ("submission", "finding", "spend", "code"):
        assert {e.who for e in ledger.entries(kind)} == {f"researcher-{n}" for n in range(1, 10)}
    snapshots = {e.body["snapshot"] for e in ledger.entries("submission")}
    assert {e.body["snapshot"] for e in ledger.entries("confirmation")} <= snapshots
    assert len(ledger.entries("confirmation")) == 3
    ledger.close()


@pytest.mark.long
def test_figures_are_made_again_and_an_edited_one_is_found(finished, tmp_path):
    folder, _ = finished
    home = folder.parents[1]
    done = aar(home, "reproduce", "whole")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"(\d+) of \1 figures agree", done.stdout)
    ran = aar(home, "reproduce", "whole", "claims/1/final", "--run-again")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"agrees claims/1 on final, run again: 0 of [1-9]\d+ answers", ran.stdout)
    report = json.loads((folder / "report" / "report.json").read_text())
    report["baselines"][0]["final"]["pgr"]["estimate"] -= 0.01
    (tmp_path / "edited.json").write_text(json.dumps(report))
    edited = aar(home, "reproduce", str(tmp_path / "edited.json"), "baselines")
    assert edited.returncode == 1, edited.stdout + edited.stderr
    assert edited.stdout.count("DIFFERS") == 1
    assert "DIFFERS baselines/naive/final/pgr: " in edited.stdout
    unknown = aar(home, "reproduce", "whole", "nothing")
    assert unknown.returncode == 2
    assert "no figure 'nothing'" in unknown.stderr


@pytest.mark.long
def test_a_finished_campaign_is_a_site_of_files(finished, tmp_path):
    folder, _ = finished
    done = aar(folder.parents[1], "report", "whole", "--site", str(tmp_path / "site"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "It holds exact scores, code and transcripts" in done.stdout.replace("\n", " ")
    submitted = json.loads((folder / "report" / "report.json").read_text())["totals"]["experiments"]
    assert len(list((tmp_path / "site" / "submission").iterdir())) == submitted["estimate"]
    again = aar(folder.parents[1], "report", "whole", "--site", str(tmp_path / "site"))
    assert again.returncode == 2
    assert "is there already" in again.stderr


def test_every_number_of_the_report_is_a_measure(finished):
    folder, _ = finished
    report = json.loads((folder / "report" / "report.json").read_text())
    measures(report)
    assert report["finished"]
    claim = report["claims"][0]
    assert claim["final"]["pgr"]["resampled"] == "items and seeds (crossed), anchors"
    assert claim["verdict"] in VERDICTS
    assert claim["m"]["estimate"] == 3
    assert claim["elsewhere"] == [], "the demo keeps to its own data"
    verify_record(folder / claim["record"], folder / "confirmations" / "key.pub")
    assert report["isolation"].startswith("bubblewrap")


@pytest.mark.long
def test_the_same_command_again_takes_all_from_the_ledger(finished, module_home):
    folder, _ = finished
    before = (folder / "server" / "ledger.sqlite").stat().st_mtime
    done = aar(module_home.root, "demo", *fields(*SMALL, "minutes=1.5", "name=whole"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("finished earlier") == 1
    assert done.stdout.count("nothing is left to run") == 1
    assert "from cache" in done.stdout
    assert (folder / "server" / "ledger.sqlite").stat().st_mtime >= before
    assert (
        aar(module_home.root, "report", "whole")
        .stdout.strip()
        .splitlines()[-1]
        .startswith("report: ")
    )


@pytest.mark.long
def test_finished_campaign_is_confirmed_again_from_cached_runs(finished, module_home):
    """What the demo left out: a fresh draw and transfer; and a further snapshot, by its hash."""
    folder, _ = finished
    show = Show(Console(file=io.StringIO()))
    report, _ = confirm("whole", module_home, show)
    assert len(report.claims) == 3
    assert {e.kind for c in report.claims for e in c.elsewhere} == {"fresh", "pair", "transfer"}
    ledger = Ledger(folder / "server" / "ledger.sqlite")
    tried = {e.body["snapshot"] for e in ledger.entries("confirmation")}
    further = next(
        e.body["snapshot"] for e in ledger.entries("submission") if e.body["snapshot"] not in tried
    )
    ledger.close()
    report, page = confirm("whole", module_home, show, snapshot=further[:16])
    assert page.exists()
    row = next(c for c in report.claims if c.snapshot == further)
    assert row.m.estimate == 4
    assert {c.m_now.estimate for c in report.claims} == {4}
    with pytest.raises(Misconfigured, match="No submitted snapshot begins with 'nothing'"):
        confirm("whole", module_home, show, snapshot="nothing")


@pytest.mark.long
def test_ctrl_c_keeps_all_and_the_next_run_goes_on(home, bed):
    given = (
        "problem=generated-chat",
        "student=double",
        "minutes=1",
        "experiments=3",
        "researchers=2",
        "name=cut",
    )
    words = ["demo", *fields(*given)]
    env = {**os.environ, "AAR_HOME": str(home.root)}
    # in CI, too
    heeding = [
        *AAR[:2],
        f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {AAR[2]}",
    ]
    process = subprocess.Popen(
        [*heeding, *words], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    database = home.root / "campaigns" / "cut" / "server" / "ledger.sqlite"
    waited_for(lambda: database.exists() and submissions(database), every_s=0.3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=40)
    assert process.returncode == 130
    assert "Nothing is lost" in err
    kept = submissions(database)
    assert kept >= 1
    done = aar(home.root, *words)
    assert done.returncode == 0, done.stderr
    assert "resumed:" in done.stdout
    assert submissions(database) >= kept


@pytest.mark.long
def test_killed_researcher_restarts_with_its_state(home, bed):
    given = (
        "problem=generated-chat",
        "student=double",
        "minutes=4",
        "experiments=4",
        "researchers=1",
        "name=killed",
    )
    env = {**os.environ, "AAR_HOME": str(home.root)}
    folder = home.root / "campaigns" / "killed"
    process = subprocess.Popen(
        [*AAR, "demo", *fields(*given)],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    progress = folder / "work" / "researcher-1" / "progress.json"
    waited_for(progress.exists)
    for victim, command in children_of(process.pid).items():
        if "aarlab.researchers.search" in command and "bwrap" not in command:
            with suppress(ProcessLookupError):  # it ended with one that was killed before it
                os.kill(victim, signal.SIGKILL)
    assert process.wait(250) == 0
    ledger = Ledger(folder / "server" / "ledger.sqlite")
    events = [e.body["event"] for e in ledger.entries("researcher")]
    assert events == [
        "enrolled",
        "running",
        "ended: crashed",
        "restarted",
        "ended: finished",
        "finished",
    ]
    assert len(ledger.entries("submission")) in {4, 5}  # the one in flight may have been repeated
    ledger.close()


def submissions(database: Path) -> int:
    with closing(Ledger(database)) as ledger:
        return len(ledger.entries("submission"))


@pytest.mark.long
def test_unisolated_sandbox_is_opt_in_and_reported(home, bed):
    done = aar(
        home.root,
        "demo",
        *fields(
            *SMALL, "minutes=0.5", "researchers=1", "confirm=1", "sandbox=directory", "name=bare"
        ),
    )
    assert done.returncode == 0, done.stderr
    assert "NOT isolated" in done.stdout


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"researchers": 0}, "researchers"),
        ({"colour": 1}, "colour"),
        ({"minutes": "long"}, "minutes"),
        ({"name": "../x"}, "name"),
    ],
)
def test_a_campaign_is_strict(given, words):
    with pytest.raises(Misconfigured, match=words):
        validated(Campaign, given, "test")


def test_a_campaign_is_saved_as_it_is_loaded(tmp_path):
    campaign = Campaign(name="x", researchers=3, usd_per_researcher_hour=0.5)
    campaign.save(tmp_path)
    assert load(tmp_path / "campaign.yaml") == campaign
    odd = Campaign(name="1e2", model="0o17", models=("1.e1", "2026-11-28", "on"), script="/~")
    odd.save(tmp_path / "odd")
    assert load(tmp_path / "odd" / "campaign.yaml") == odd
    for text, words in (
        ("a: [", "not valid YAML"),
        ("directions: ''", "directions is ''"),
        ("student: ~nobody-of-this-name/x.yaml", "no such home folder"),
        ("budget: {usd: 5}\nminutes: 1\nbudget: {hours: 2}", "'budget' stands twice .*line 3"),
        ("budget:\n  usd: much", r"budget.usd: .* \(line 2\)"),
        ("[1]", "dict"),
        ("name: a\nname: b", "'name' stands twice"),
        ("", None),
    ):
        (tmp_path / "bad.yaml").write_text(text)
        if words is None:
            assert load(tmp_path / "bad.yaml") == Campaign()
        else:
            with pytest.raises(Misconfigured, match=words):
                load(tmp_path / "bad.yaml")


def test_fields_of_the_command_line_are_read_as_the_file_is(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    made = campaign_of(["name=7", "minutes=1e1", "directions=~/d.yaml", "budget={usd: 1e2}"])
    assert (made.name, made.minutes, made.budget.usd) == ("7", 10.0, 100.0)
    assert made.directions == str(tmp_path / "d.yaml")
    for words, reported in (
        (["minutes=1", "minutes=2"], "minutes is given twice"),
        (["minutes"], "minutes has no value"),
        (["budget={usd: 1, usd: 2}"], "--set budget is not valid YAML: the key 'usd' stands twice"),
        (["minutes=long"], "--set: minutes: Input should be a valid number"),
    ):
        with pytest.raises(Misconfigured, match=reported):
            campaign_of(words)


def test_a_begun_campaign_is_not_written_over(tmp_path):
    Campaign(name="x").save(tmp_path)
    Campaign(name="x", minutes=9).save(tmp_path)
    with pytest.raises(Misconfigured, match="was begun with directed=True"):
        Campaign(name="x", directed=False).save(tmp_path)


def test_user_errors_are_one_sentence_that_says_whose_move_it_is(home):
    done = aar(home.root, "demo", *fields("problem=poetry"))
    assert done.returncode == 2
    assert done.stderr.startswith("error: There is no problem named 'poetry'")
    assert "Traceback" not in done.stderr
    assert aar(home.root, "report", "nothing").returncode == 2


def test_doctor_finds_nothing_missing_here(home):
    done = aar(home.root, "doctor")
    assert done.returncode == 0, done.stdout
    assert "sandbox: bubblewrap" in done.stdout


@pytest.mark.long
def test_a_campaign_that_ran_out_of_time_goes_on_when_it_is_given_more(home, bed):
    given = (
        "problem=generated-chat",
        "student=double",
        "experiments=40",
        "researchers=1",
        "confirm=1",
        "name=more",
    )
    first = aar(home.root, "demo", *fields(*given, "minutes=0.15"))
    assert first.returncode == 0, first.stderr
    kept = submissions(home.root / "campaigns" / "more" / "server" / "ledger.sqlite")
    same = aar(home.root, "demo", *fields(*given, "minutes=0.15"))
    assert "finished earlier (0.15 minutes are spent)" in same.stdout
    more = aar(home.root, "demo", *fields(*given, "minutes=0.3"))
    assert "resumed:" in more.stdout
    assert submissions(home.root / "campaigns" / "more" / "server" / "ledger.sqlite") > kept
