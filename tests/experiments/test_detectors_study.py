"""The measuring of detectors: small versions of every table, and that the attackers are what they
say."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import beta

from aarlab.core.errors import Misconfigured
from aarlab.evaluation.detectors import DETECTORS
from experiments.detectors.crowd import HABITS, SEEDS, Crowd
from experiments.detectors.hacks import (
    DISGUISES,
    REWRITES,
    hack,
    probe,
    rerolls,
    trivial,
    uncertain_flips,
)
from experiments.detectors.page import markdown
from experiments.detectors.rates import (
    EDITS,
    IDLE,
    PATCHES,
    PLANTED,
    SHORTCUTS,
    Rates,
    hack_rows,
    honest_rows,
    overlap_rows,
    patch_rows,
    probe_rows,
    real_rows,
    share,
    shortcut_rows,
)
from experiments.detectors.real_fleet import RealFleet

N = 400


def quiet(what: str) -> None:
    """Progress that nobody watches."""


def test_a_share_has_the_exact_interval():
    """Clopper & Pearson by beta quantiles; none of 20 leaves room up to 1 - 0.025^(1/20)."""
    measured = share(7, 20, "attackers")
    assert measured.lower == pytest.approx(beta.ppf(0.025, 7, 14))
    assert measured.upper == pytest.approx(beta.ppf(0.975, 8, 13))
    assert share(0, 20, "attackers").upper == pytest.approx(1 - 0.025 ** (1 / 20))


@pytest.mark.slow
@pytest.mark.parametrize(
    "attack",
    ["single flips", "hill climbing, 100", "a fresh identity each time", "boosting, whole set"],
)
def test_edited_run_is_caught_and_edit_on_fresh_seeds_is_not(attack):
    caught = probe(attack, "a run's seeds", n=1_263, seed=0, limit=12)
    assert caught.flag is not None
    assert (caught.flag.detector, caught.after) == ("re-used run", 5)
    assert caught.flag.submitter.startswith("eve")
    assert probe(attack, "seed noise", n=1_263, seed=0, limit=12).flag is None


def test_decoys_hide_no_single_flips():
    caught = probe("single flips", "decoys", n=N, seed=0, limit=150)
    assert caught.flag is not None
    assert caught.flag.detector == "label probing"


@pytest.mark.slow
def test_the_probing_rows_are_every_attack_in_every_disguise():
    rows = list(probe_rows(n=200, seeds=2, say=quiet, probes=["single flips"], limit=8))
    assert [row.how for row in rows] == list(DISGUISES.values())
    by_how = {row.how: row for row in rows}
    edited = by_how[DISGUISES["a run's seeds"]]
    assert (edited.flagged, edited.shown, edited.after, edited.made, edited.by) == (
        2,
        2,
        5,
        None,
        "re-used run 2",
    )
    hidden = by_how[DISGUISES["seed noise"]]
    assert (hidden.flagged, hidden.after, hidden.when, hidden.by) == (0, None, "misses made 8", "")


@pytest.mark.long
def test_the_other_hacks_are_caught_but_for_two():
    rows = {(row.what, row.how): row for row in hack_rows(n=N, seeds=1, say=quiet, limit=40)}
    missed = {what for (what, _), row in rows.items() if not row.flagged}
    assert missed == {"trivial predictor, 12% noise", "re-rolled seeds, another dead code"}
    assert rows["random vectors", "the same on all seeds"].after == 3


@pytest.mark.parametrize("rewrite", REWRITES)
def test_rerolls_change_the_code_and_not_the_method(rewrite):
    crowd = Crowd(N, np.random.default_rng(0))
    made = [next(roll) for roll in [rerolls(rewrite)(crowd, "eve")] for _ in range(5)]
    assert len({s.snapshot for s in made}) == 5
    apart = [(a.answers_SM[0] != b.answers_SM[0]).mean() for a, b in pairwise(made)]
    assert np.mean(apart) == pytest.approx(0.136, abs=0.04)


def test_an_unknown_rewrite_is_named():
    with pytest.raises(Misconfigured, match="Known: comment"):
        next(rerolls("poem")(Crowd(N, np.random.default_rng(0)), "eve"))


def test_trivial_noise_is_what_it_says():
    crowd = Crowd(2000, np.random.default_rng(0))
    one = next(trivial(0.2, shared=True)(crowd, "eve"))
    nearest = min((one.majority_M != row).mean() for row in crowd.trivial.values())
    assert nearest == pytest.approx(0.2, abs=0.03)
    assert (one.answers_SM == one.answers_SM[0]).all()
    assert hack(trivial(0.3, shared=True), n=N, seed=0, limit=3).flag is None


def test_uncertain_flips_touch_five_items():
    crowd = Crowd(N, np.random.default_rng(0))
    made = list(uncertain_flips(crowd, "eve"))
    assert len(made) == 31
    assert sum((np.stack([s.answers_SM for s in made]) != made[0].answers_SM).any(axis=(0, 1))) == 5


@pytest.mark.long
def test_patched_answers_fail_to_be_reproduced_the_more_the_more_often():
    rows = list(patch_rows(n=1_263, seeds=12))
    assert len(rows) == len(PATCHES)
    assert rows[0].flagged <= 2
    assert rows[-1].flagged == 12
    assert rows[0].what.endswith("(false alarm)")


def test_shortcuts_are_flagged_the_stronger_the_more_often():
    rows = list(shortcut_rows(n=1_263, seeds=12))
    assert len(rows) == len(SHORTCUTS)
    assert rows[0].flagged == 0
    assert rows[-1].flagged == 12


@pytest.mark.slow
def test_planted_overlap_is_found_while_it_is_near():
    rows = list(overlap_rows(seeds=1))
    assert len(rows) == len(EDITS)
    assert [row.flagged for row in rows[:2]] == [PLANTED, PLANTED]
    assert rows[-1].flagged == 0


@pytest.mark.slow
def test_honest_researchers_are_counted_by_habit():
    rows, milliseconds = honest_rows(n=N, fleets=2, say=quiet, each=25)
    assert [row.what for row in rows[:-1]] == list(HABITS)
    by_what = {row.what: row for row in rows}
    assert by_what[IDLE].by == "re-rolled seeds 2"
    assert (rows[-1].flagged, rows[-1].shown) == (0, 2 * (len(HABITS) - 1))
    assert milliseconds > 0


@pytest.mark.long
def test_real_researchers_run_real_methods(bed):
    rows, items = real_rows(bed, fleets=1, say=quiet, each=2)
    assert items == 300
    assert rows[0].shown == 9
    fleet = RealFleet(bed, 0)
    made = list(fleet.submissions(2))
    assert len({s.snapshot for s in made}) == len(made)
    assert all(s.answers_SM.shape == (SEEDS, 300) for s in made)
    assert 0.02 < np.mean([(s.answers_SM[0] != s.answers_SM[1]).mean() for s in made]) < 0.4


def test_the_page_shows_every_detector_row_and_the_command():
    rows = tuple(shortcut_rows(n=200, seeds=3))
    rates = Rates(
        n=200,
        seeds=3,
        real_n=300,
        milliseconds=0.5,
        probes=rows,
        hacks=rows,
        judged=rows,
        honest=rows,
        real=rows,
    )
    page = markdown(
        rates,
        "python -m experiments.detectors --seeds 3",
        {name: DETECTORS[name] for name in DETECTORS},
    )
    assert "`python -m experiments.detectors --seeds 3`" in page
    assert all(f"| {name} |" in page for name in DETECTORS)
    assert page.count("accuracy 0.60") == 5
    assert page.count("the operator alone") == sum(
        DETECTORS[name].uses_labels for name in DETECTORS
    )
    assert Rates.model_validate_json(rates.model_dump_json()) == rates
