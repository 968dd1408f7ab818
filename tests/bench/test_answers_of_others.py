"""Answers from elsewhere, in the forms in which other tools write them."""

import csv
import json

import numpy as np
import pytest

from aarlab.bench.answers_of_others import grade_answers
from aarlab.core.errors import Misconfigured
from aarlab.evaluation.scoring.hidden_labels import load_answers


@pytest.mark.parametrize("split", ["feedback", "final"])
def test_three_forms_of_the_same_answers_have_one_score(bed, tmp_path, split):
    labels = load_answers(bed.folder)[split]
    ids = sorted(labels)
    rng = np.random.default_rng(1)
    right = {seed: rng.random(len(ids)) < 0.8 for seed in (3, 41, 5)}
    rows = {
        seed: {i: labels[i] if good else 1 - labels[i] for i, good in zip(ids, goods, strict=True)}
        for seed, goods in right.items()
    }
    as_json, as_npz, as_csv = (tmp_path / f"answers.{kind}" for kind in ("json", "npz", "csv"))
    as_json.write_text(json.dumps(rows))
    arrays = {f"seed_{seed}": np.array(list(by.values())) for seed, by in rows.items()}
    np.savez(as_npz, ids=np.array(ids), **arrays)
    with as_csv.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", *rows])
        writer.writerows([i, *(by[i] for by in rows.values())] for i in ids)
    found = grade_answers(bed, [as_json, as_npz, as_csv], split)
    assert [one.seeds for one in found] == [3, 3, 3]
    assert found[0].score == found[1].score == found[2].score
    mean = np.mean(list(right.values()))
    assert found[0].score is not None
    assert found[0].score.accuracy.estimate == pytest.approx(mean)


def test_a_file_that_does_not_fit_is_refused_beside_the_others(bed, tmp_path):
    labels = load_answers(bed.folder)["final"]
    good, short = tmp_path / "good.json", tmp_path / "short.json"
    good.write_text(json.dumps({"1": labels}))
    short.write_text(json.dumps({"1": dict(list(labels.items())[1:])}))
    first, second = grade_answers(bed, [short, good], "final")
    assert first.score is None
    assert "have no answer" in first.refused
    assert second.score is not None
    assert second.score.accuracy.estimate == 1
    with pytest.raises(Misconfigured, match="no labels under 'other'"):
        grade_answers(bed, [good], "other")
