"""Figures of a report on a problem in a folder, made again; and its code, run again."""

import json
from types import SimpleNamespace

import pytest
from rich.console import Console

from aarlab.cli.show import Show
from aarlab.core.errors import Misconfigured
from aarlab.core.layout import Home, PreparedFolder, TestbedFolder
from aarlab.core.records import Measure
from aarlab.evaluation.confirmation.confirmation_record import record_of
from aarlab.evaluation.evaluator import Evaluator
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.run_folder import confirmed_in_folder
from aarlab.programs.reproduce import figures, read_report, reproduce, same
from aarlab.programs.run_folder_again import FolderAgain
from aarlab.report.folder_report import FolderReport, build_folder
from aarlab.report.pages import write
from aarlab.sandbox import Bubblewrap
from tests.fleet.test_folder_campaign import GOOD, HALF, submit_code
from tests.fleet.test_folder_campaign import folder as folder
from tests.fleet.test_folder_campaign import served as served

pytestmark = [pytest.mark.process, pytest.mark.long]


@pytest.fixture(scope="module")
def home(served):
    return Home(served.folder.parents[1])


@pytest.fixture(scope="module")
def campaign(folder, served, home):
    """Two submissions, both confirmed: one better than the best baseline, one the same as it."""
    made = Campaign(name="c", problem=str(folder), mode="code", confirm=2)
    made.save(home.campaigns / "c")
    submit_code(served, home.campaigns / "c", {"ann": GOOD, "bob": HALF})
    confirmed_in_folder(made, served, home, Show(Console(quiet=True)))
    return made


@pytest.fixture(scope="module")
def report(campaign, served, home):
    with Evaluator(served.folder, home.campaigns / "c", read_only=True) as evaluator:
        about = {"isolation": "bubblewrap: all", "faults": ()}
        return build_folder(campaign, served, evaluator, **about)


@pytest.fixture
def again(campaign, served, home):
    return lambda report, wanted=None: reproduce(
        report, campaign, served, home.campaigns / "c", wanted
    )


def measures(value, at=()):
    if isinstance(value, dict) and "resampled" in value:
        yield at
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from measures(inner, (*at, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from measures(inner, (*at, number))


def moved(plain, at):
    """The same report with one figure that is a little higher."""
    place = plain
    for step in at:
        place = place[step]
    for end in ("estimate", "lower", "upper"):
        place[end] = 1.01 * place[end] + 0.001
    return plain


def test_every_figure_agrees_and_each_that_is_changed_differs(report, again):
    whole = again(report)
    assert whole.agrees, [one for one in whole.compared if not one.agrees]
    assert {"claims/1/final", "claims/1/gates/near/worse", "claims/1/others/fresh draw/gain"} <= {
        one.name for one in whole.compared
    }
    plain = json.loads(report.model_dump_json())
    places = list(measures(plain))
    assert len(places) > 60
    for at in places:
        edited = FolderReport.model_validate(moved(json.loads(json.dumps(plain)), at), strict=False)
        pairs = zip(figures(report).items(), figures(edited).items(), strict=True)
        assert sum(not same(one[1], other[1]) for one, other in pairs) == 1, at


def test_that_no_component_is_known_is_said_with_what_to_do(report):
    (note,) = [note for note in report.notes if "components" in note]
    assert f"`aar compare c {report.confirmed.receipt} OTHER`" in note


def test_a_tampered_report_is_found(report, again, tmp_path):
    write(report, tmp_path)
    path = tmp_path / "report.json"
    plain = json.loads(path.read_text())
    plain["claims"][0]["final"]["estimate"] += 0.01
    plain["claims"][1]["verdict"] = "confirmed"
    plain["baselines"]["half"]["final"]["levels"]["error"]["lower"] -= 0.1
    path.write_text(json.dumps(plain))
    found = again(read_report(path))
    assert not found.agrees
    assert {one.name for one in found.compared if not one.agrees} == {
        "claims/1/final",
        "claims/2/verdict",
        "baselines/half/final/levels/error",
    }


def test_figures_are_those_of_stored_unit_scores_and_not_of_the_record(
    report, campaign, served, home, monkeypatch
):
    """A record that says something else than its stored unit scores is not believed."""
    from aarlab.report import ranked_claims

    def lying(entry):
        record = record_of(entry)
        wrong = Measure(estimate=0.5, lower=0.4, upper=0.6, n=300, resampled="units")
        targets = tuple(
            t.model_copy(update={"accuracy": wrong, "pgr": wrong, "levels": {}})
            for t in record.targets
        )
        return record.model_copy(update={"targets": targets})

    monkeypatch.setattr(ranked_claims, "record_of", lying)
    with Evaluator(served.folder, home.campaigns / "c", read_only=True) as evaluator:
        made = build_folder(campaign, served, evaluator, isolation="", faults=())
    assert made.claims == report.claims
    assert report.claims[0].final.estimate > 0.6
    kinds = {other.kind for other in report.claims[0].others}
    assert kinds == {"fresh", "ablated"}, "a fresh draw, whose units are stored, among them"


@pytest.mark.parametrize("name", ["served.json", "baseline_scores.json", "secret"])
def test_a_changed_file_of_a_served_folder_is_named(name, report, again, served):
    made = TestbedFolder(served.folder)
    path = {p.name: p for p in (made.served, made.baseline_scores)}.get(
        name, PreparedFolder(served.folder).secrets("final") / "y.json"
    )
    before = path.read_bytes()
    path.write_bytes(before + b" ")
    try:
        found = again(report, "claims/1/final")
    finally:
        path.write_bytes(before)
    what = path.relative_to(served.folder).as_posix() if name != "secret" else "secret/final"
    assert found.faults == (f"{what} of the testbed was changed since the report was made.",)


def test_a_report_of_the_other_kind_is_refused(report, campaign, home):
    bed = SimpleNamespace(folder=home.problems)
    with pytest.raises(Misconfigured, match="of a problem in a folder, and the campaign 'c' of we"):
        from aarlab.programs.reproduce import _made

        _made(report, campaign, bed, None, 1)


def test_code_run_again_gives_the_unit_scores_that_were_recorded(report, served, home):
    names = ["claims/1/final", "baselines/zero/final/combined"]
    with Evaluator(served.folder, home.campaigns / "c", read_only=True) as evaluator:
        runs = list(FolderAgain(served, evaluator, home, Bubblewrap).ran(report, names))
    assert all(one.agrees for one in runs), runs
    assert {one.what for one in runs} >= {
        *("claims/1 on final", "half beside claims/1 on final", "claims/1 on fresh draw"),
        *("claims/1 on without slopes", "baselines/zero on final", "baselines/zero on feedback"),
    }
    assert {one.answers for one in runs if one.what == "claims/1 on final"} == {2 * 5 * 300}


def test_other_code_run_again_differs(report, served, home):
    """What was confirmed is not what lies under its name now."""
    with Evaluator(served.folder, home.campaigns / "c", read_only=True) as evaluator:
        other = SimpleNamespace(
            ledger=evaluator.ledger, code=lambda _: {"method.py": HALF}, folder=evaluator.folder
        )
        again = FolderAgain(served, other, home, Bubblewrap)
        first = next(iter(again.ran(report, ["claims/1/final"])))
    assert not first.agrees
    assert first.differing > 1000
