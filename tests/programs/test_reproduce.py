"""Figures made again agree with the report that they were made from, and with no other; what was
changed since is named."""

import json
import sqlite3
from base64 import b64encode
from contextlib import closing

import numpy as np
import pytest

from aarlab.cli.reproduce_command import both_shown
from aarlab.core.errors import Misconfigured
from aarlab.core.records import Family, Measure
from aarlab.evaluation.confirmation.gate import Confirmations
from aarlab.evaluation.evaluator import Evaluator
from aarlab.fleet.campaign import Campaign
from aarlab.programs.reproduce import campaign_of, chosen, figures, read_report, reproduce
from aarlab.programs.run_again import ran_again
from aarlab.report.build import build
from aarlab.report.pages import write
from aarlab.runs.engine import RunResult
from tests.evaluation.test_confirmation import outcomes, submit

CAMPAIGN = Campaign(name="campaign", problem="generated-chat", student="double")


@pytest.fixture
def folder(starts_processes, bed, tmp_path):
    """A campaign with two submissions, of which both were confirmed."""
    with Evaluator(bed.folder, tmp_path / "campaign") as evaluator:
        submit(evaluator, 1, 0.9)
        submit(evaluator, 2, 0.8)
        gate = Confirmations(evaluator)
        for number, order in zip((1, 2), gate.begin(2), strict=True):
            gate.finish(
                order.token, outcomes(evaluator, order, right=1 - number / 10, number=number)
            )
    return tmp_path / "campaign"


@pytest.fixture
def report(bed, folder):
    return reported(bed, folder)


def reported(bed, folder):
    with Evaluator(bed.folder, folder, read_only=True) as evaluator:
        return build(CAMPAIGN, bed, evaluator, isolation="bubblewrap: all", faults=())


def again(report, bed, folder, wanted=None):
    return reproduce(report, CAMPAIGN, bed, folder, wanted)


def replaced(path, content: bytes) -> None:
    path.unlink()  # a link to another test's
    path.write_bytes(content)


def test_every_figure_of_a_report_agrees(report, bed, folder):
    found = again(report, bed, folder)
    assert found.agrees
    assert found.faults == ()
    names = [one.name for one in found.compared]
    assert len(set(names)) == len(names) > 200
    assert {"claims/1/final/pgr", "claims/2/verdict", "released/feedback/bits"} <= set(names)
    assert "baselines/naive-tuned/final/accuracy" in names


def test_a_figure_is_found_by_its_name_or_by_a_part_of_it(report, bed, folder):
    (one,) = again(report, bed, folder, "claims/1/final/pgr").compared
    assert one.again == report.claims[0].final.pgr.model_dump()
    names = list(figures(report))
    assert chosen(names, "claims/1/final") == [n for n in names if n.startswith("claims/1/final/")]
    with pytest.raises(Misconfigured, match=r"no figure 'claims/1/finl'. Near are: claims/1/f"):
        chosen(names, "claims/1/finl")
    with pytest.raises(Misconfigured, match="no figure 'claims/1/fin'"):
        chosen(names, "claims/1/fin")


def test_a_figure_that_was_edited_differs_and_no_other(report, bed, folder):
    plain = json.loads(report.model_dump_json())
    plain["claims"][1]["final"]["pgr"]["estimate"] += 0.01
    plain["claims"][0]["verdict"] = "not reproducible"
    edited = type(report).model_validate_json(json.dumps(plain))
    found = again(edited, bed, folder)
    assert not found.agrees
    assert [one.name for one in found.compared if not one.agrees] == [
        "claims/1/verdict",
        "claims/2/final/pgr",
    ]


def test_a_ledger_that_grew_gives_the_figures_of_then(report, bed, folder):
    with Evaluator(bed.folder, folder) as evaluator:
        evaluator.commit_code("bob", {"method.py": "# 3"}, Family.ENSEMBLE)
        body = {"kind": "error", "title": "t", "text": "x", "family": "other", "receipts": []}
        evaluator.ledger.append("finding", "bob", body)
    found = again(report, bed, folder)
    assert found.agrees
    assert any("has 2 more entries now" in note for note in found.notes)
    assert figures(reported(bed, folder))["totals/findings"]["estimate"] == 1


def test_what_others_asked_about_the_labels_since_is_named_as_shared(report, bed, folder):
    with Evaluator(bed.folder, folder) as evaluator:
        submit(evaluator, 4, 0.5)
    differing = [one for one in again(report, bed, folder).compared if not one.agrees]
    assert "released/feedback/answers" in {one.name for one in differing}
    assert all(one.shared for one in differing)


def test_an_edited_ledger_is_named_and_nothing_is_made(report, bed, folder):
    with closing(sqlite3.connect(folder / "server" / "ledger.sqlite")) as raw, raw:
        raw.execute("DROP TRIGGER no_update")
        raw.execute("UPDATE entries SET who = 'eve' WHERE seq = 2")
    found = again(report, bed, folder)
    assert not found.agrees
    assert found.compared == ()
    assert "2" in found.faults[0]


def test_a_report_of_another_ledger_or_of_lost_entries_is_named(report, bed, folder):
    other = report.model_copy(update={"ledger_head": "0" * 64})
    (fault,) = again(other, bed, folder).faults
    assert "from one with 000000000000" in fault
    size = report.totals.ledger_entries
    more = size.model_copy(update={"estimate": size.estimate + 5})
    totals = report.totals.model_copy(update={"ledger_entries": more})
    (fault,) = again(report.model_copy(update={"totals": totals}), bed, folder).faults
    assert "has fewer now" in fault


def test_a_changed_file_of_the_testbed_is_named(report, bed, folder):
    with np.load(bed.baselines) as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays["final/naive"] = ~arrays["final/naive"]
    bed.baselines.unlink()
    with bed.baselines.open("wb") as file:
        np.savez(file, **arrays)
    found = again(report, bed, folder)
    assert found.faults == (
        "private/baselines.npz of the testbed was changed since the report was made.",
    )
    differing = {one.name for one in found.compared if not one.agrees}
    assert differing
    assert all(name.startswith("baselines/naive/final/") for name in differing)
    replaced(bed.anchors, bed.anchors.read_bytes())
    bed.naive_tuned.unlink()
    bed.naive_tuned.write_text("16/1.0 ")
    assert any("naive_tuned.txt" in fault for fault in again(report, bed, folder).faults)


def test_changed_labels_are_named(report, bed, folder):
    answers = json.loads(bed.answers.read_text())
    item = next(iter(answers["feedback"]))
    answers["feedback"][item] = 1 - answers["feedback"][item]
    replaced(bed.answers, json.dumps(answers).encode())
    found = again(report, bed, folder)
    assert not found.agrees
    assert found.faults


def test_the_root_of_a_report_is_that_of_its_entries(report, bed, folder):
    with Evaluator(bed.folder, folder) as evaluator:
        size, root = evaluator.ledger.count(), evaluator.ledger.head()[1]
    assert report.totals.ledger_entries.estimate == size
    assert report.ledger_root == b64encode(root).decode()
    last = (folder / "checkpoints" / "checkpoints.txt").read_text()
    assert f"\n{size}\n{report.ledger_root}\n" in last


def test_a_report_is_read_from_its_file_its_folder_or_its_campaign(report, folder, tmp_path):
    write(report, folder / "report")
    for place in (folder, folder / "report", folder / "report" / "report.json"):
        assert read_report(place) == report
    with pytest.raises(Misconfigured, match="There is no report at .* Give a campaign's name"):
        read_report(tmp_path / "nothing")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(Misconfigured, match="no report that this version can read"):
        read_report(tmp_path / "bad.json")


@pytest.mark.parametrize("name", ["../other", "/etc", "..", "", "a/b", None])
def test_a_report_from_elsewhere_leads_to_no_other_folder(report, name):
    with pytest.raises(Misconfigured, match="no name of one"):
        campaign_of(report.model_copy(update={"campaign": {"name": name} if name else {}}))
    assert campaign_of(report) == "campaign"


class Answering:
    """An engine that gives the answers of a stored run, some of them turned round."""

    def __init__(self, bed, stored, turned: int) -> None:
        self.testbed, self._stored, self._turned = bed, stored, turned

    def run(self, files, split, seeds):
        found = {str(s): dict(self._stored[s]) for s in seeds}
        first = found.get(str(min(self._stored)), {})
        for item in list(first)[: self._turned]:
            first[item] ^= 1
        return RunResult(found, "", 0.0, from_cache=False)


@pytest.mark.parametrize("turned", [0, 3])
def test_answers_of_a_run_again_are_counted_one_by_one(report, bed, folder, turned):
    with Evaluator(bed.folder, folder, read_only=True) as evaluator:
        claim = report.claims[0]
        record = json.loads((folder / claim.record).read_text())
        text = json.dumps(record)
        final = next(t for t in json.loads(text)["record"]["targets"] if t["kind"] == "final")
        stored = evaluator.predictions(final["predictions"]["method"])
        engine = Answering(bed, stored, turned)
        (one,) = ran_again(report, ["claims/1/final/pgr"], engine, evaluator)
    assert one.what == "claims/1 on final"
    assert (one.answers, one.differing) == (sum(map(len, stored.values())), turned)
    assert one.agrees == (turned == 0)


def measure(estimate, lower, upper, n=100):
    made = Measure(estimate=estimate, lower=lower, upper=upper, n=n, resampled="items")
    return made.model_dump()


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (
            measure(0.12344, 0.1, 0.2),
            measure(0.12341, 0.1, 0.2),
            ("0.12344 [0.10000, 0.20000]", "0.12341 [0.10000, 0.20000]"),
        ),
        (
            measure(0.5, 0.1, 0.2 + 3e-8),
            measure(0.5, 0.1, 0.2),
            ("0.50000000 [0.10000000, 0.20000003]", "0.50000000 [0.10000000, 0.20000000]"),
        ),
        (measure(0.5, 0.1, 0.2), measure(0.6, 0.1, 0.2), ("0.5000 [0.1000,", "0.6000 [0.1000,")),
        (measure(*[12345678.0] * 3), measure(*[12345679.0] * 3), ("12345678", "12345679")),
        (measure(*[1.0] * 3, n=100), measure(*[1.0] * 3, n=101), ("1 (n 100, ", "1 (n 101, ")),
        (0.1234, 0.12340001, ("0.1234", "0.12340001")),
        (None, "unknown", ("None", "'unknown'")),
        (True, "True", ("True", "'True'")),
    ],
)
def test_two_figures_that_differ_are_shown_with_the_digits_in_which_they_do(before, now, expected):
    shown = both_shown(before, now)
    assert shown[0] != shown[1]
    assert all(text.startswith(start) for text, start in zip(shown, expected, strict=True))
