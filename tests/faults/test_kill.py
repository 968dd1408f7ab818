"""kill -9 at every point of a submission: nothing that was reported is lost, nothing is charged
twice, the record stays whole."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from aarlab.core.records import Family
from aarlab.evaluation.audit import Files, audit, load_key
from aarlab.evaluation.evaluator import Evaluator
from tests.faults.killed import bundle

pytestmark = pytest.mark.process

FAMILY = Family.OTHER


def starts_of(bed, campaign: Path, stride: int) -> list[dict]:
    argv = [
        sys.executable,
        str(Path(__file__).with_name("killed.py")),
        str(bed.folder),
        str(campaign),
        str(stride),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def check(bed, campaign: Path, rounds: list[dict]) -> None:
    told = [(r["number"], t) for r in rounds for t in r["told"]]
    receipts = {n: t for n, t in told if t["told"] == "receipt"}
    codes = {n: t for n, t in told if t["told"] == "code"}
    assert len(codes) > len(receipts) > 0, "no start was ended between the two"
    assert any(t["improved"] for t in receipts.values())
    with Evaluator(bed.folder, campaign) as evaluator:
        kept = {
            e.body["receipt"]["id"]: e.body["receipt"]
            for e in evaluator.ledger.entries("submission")
        }
        for receipt in receipts.values():
            assert kept[receipt["id"]] == {k: v for k, v in receipt.items() if k != "told"}
        assert {t["snapshot"] for t in codes.values()} <= {
            e.body["snapshot"] for e in evaluator.ledger.entries("code")
        }
        before = evaluator.meter.state()
        assert len(kept) <= before["answers"] <= len(rounds), "an answer was charged twice"
        # asked again: those that were reported, and those whose process ended before
        for number, code in codes.items():
            again = evaluator.submit(
                "ann", code["snapshot"], bundle(evaluator, number, code["seeds"]), FAMILY
            )
            if number in receipts:
                assert again.repeated
                assert (again.id, again.improved) == (
                    receipts[number]["id"],
                    receipts[number]["improved"],
                )
    made = audit(Files(campaign, bed.folder), load_key(campaign / "checkpoints" / "key.pub"))
    assert made.faults == ()
    assert made.covered == made.entries


@pytest.mark.long
def test_killed_at_lines_all_over_a_submission(bed, tmp_path):
    rounds = starts_of(bed, tmp_path / "campaign", 47)
    assert len(rounds) > 20
    check(bed, tmp_path / "campaign", rounds)


@pytest.mark.kill
def test_killed_at_every_line_of_a_submission(bed, tmp_path):
    rounds = starts_of(bed, tmp_path / "campaign", 1)
    print(f"{len(rounds)} starts_of, {sum(bool(r['told']) for r in rounds)} of them told something")
    check(bed, tmp_path / "campaign", rounds)
