"""Ablated testbeds say nothing about an item, and leave the testbed itself as it was."""

import json

import numpy as np
import pytest

from aarlab.evaluation.scoring.tries import tries_of
from aarlab.testbeds.ablation import ablate, noise_like
from aarlab.testbeds.frozen_labels import CLIP
from aarlab.testbeds.task_data import load_task, read_inputs


def contents(folder):
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


@pytest.mark.parametrize("how", ["teacherless", "ablated"])
def test_labels_items_and_anchors_are_kept_and_the_testbed_is_untouched(bed, how):
    tries_of(bed.folder).begin("campaign", "snapshot", "nonce")
    before = contents(bed.folder)
    made = ablate(bed, how)
    assert contents(bed.folder) == before
    after = contents(made.folder)
    same = {
        "private/answers.json",
        "private/anchors.npz",
        "public/feedback.jsonl",
        "public/problem.json",
    }
    assert all(after[name] == before[name] for name in same)
    assert not any(
        "meter" in name or "confirmations" in name or "baselines" in name for name in after
    )
    assert made.fingerprint != bed.fingerprint
    assert not made.from_cache
    assert ablate(bed, how).from_cache
    assert (
        made.private.stat().st_mode & 0o777,
        (made.folder / "sealed").stat().st_mode & 0o777,
    ) == (0o700, 0o700)


def test_weak_labels_are_dealt_to_other_items_together(bed):
    made = ablate(bed, "teacherless")
    (weak, critic), (dealt, dealt_critic) = (
        [np.load(b.public / f"{name}_probs.npy") for name in ("weak", "critic")]
        for b in (bed, made)
    )
    for n in range(len(weak)):
        assert not np.array_equal(weak[n], dealt[n])
        order = np.argsort(weak[n]), np.argsort(dealt[n])
        assert np.array_equal(weak[n][order[0]], dealt[n][order[1]])
        assert sorted(zip(weak[n], critic[n], strict=True)) == sorted(
            zip(dealt[n], dealt_critic[n], strict=True)
        )
    assert abs(np.corrcoef(weak[0], dealt[0])[0, 1]) < 0.2
    hidden = [read_inputs(b.public, "feedback").hidden[16] for b in (bed, made)]
    assert np.array_equal(*hidden)


def test_states_and_zero_shot_logits_become_noise_of_the_same_moments(bed):
    made = ablate(bed, "ablated")
    for split, where in (("student", "public"), ("feedback", "public"), ("final", "sealed/inputs")):
        real, noise = (read_inputs(b.folder / where, split) for b in (bed, made))
        assert real.ids == noise.ids
        assert real.choices == noise.choices
        assert real.hidden.keys() == noise.hidden.keys() != set()
        for layer in real.hidden:
            flat = [
                np.asarray(x.hidden[layer], float).reshape(-1, x.hidden[layer].shape[2])
                for x in (real, noise)
            ]
            assert np.allclose(flat[0].mean(0), flat[1].mean(0), atol=0.25)
            assert np.allclose(flat[0].std(0), flat[1].std(0), atol=0.25)
            assert abs(np.corrcoef(flat[0][:, 0], flat[1][:, 0])[0, 1]) < 0.2
        assert abs(np.corrcoef(real.zero_shot_logit_N, noise.zero_shot_logit_N)[0, 1]) < 0.25


def test_an_ablated_task_says_nothing_of_the_labels(bed):
    """What the student knows best (the double's first feature at layer 16) is gone from the test
    items."""
    truth = json.loads((bed.private / "answers.json").read_text())["feedback"]
    known = []
    for one in (bed, ablate(bed, "ablated")):
        test = load_task(one.public, one.public, "feedback", 3).test
        side = np.asarray(test.hidden[16], float)
        known.append(
            np.mean(((side[:, 1, 0] - side[:, 0, 0]) > 0) == np.array([truth[i] for i in test.ids]))
        )
    assert known[0] > 0.75
    assert abs(known[1] - 0.5) < 0.12


def test_noise_is_clipped_as_states_are_and_keeps_shape_and_type():
    rng = np.random.default_rng(0)
    wide = (rng.normal(0, 4, (500, 2, 3))).astype(np.float16)
    noise = noise_like(wide, rng)
    assert (noise.shape, noise.dtype) == (wide.shape, wide.dtype)
    assert np.abs(noise).max() == CLIP
    assert np.abs(noise_like(np.full((9, 2), 40.0, np.float32), rng) - 40.0).max() < 1e-6
