"""What is read of texts is kept whole or in whole parts; a reading that was stopped goes on."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from aarlab.core.errors import Misconfigured
from aarlab.core.layout import FeaturesFolder
from aarlab.models import feature_store
from aarlab.models.feature_store import Features, kept

TEXTS, BATCH = 24, 2


class Killed(BaseException):
    """As by a signal."""


class Model:
    """Reads each text as its number; it ends in the middle of batch `ends_at`."""

    def __init__(self, ends_at: int | None = None) -> None:
        self.ends_at, self.asked = ends_at, 0

    def __call__(self, batches: Sequence[Sequence[int]]) -> Iterator[Features]:
        for batch in batches:
            if self.asked == self.ends_at:
                raise Killed
            self.asked += 1
            n = np.array(batch)
            yield Features(
                np.stack([n, -n])[..., None].astype(np.float16), n.astype(np.float32), n[:, None]
            )


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(feature_store, "PART_TEXTS", 5)  # three batches


def read(folder, model, key="k", progress=lambda done, of: None) -> Features:
    order = np.random.default_rng(0).permutation(TEXTS).tolist()
    batches = [order[at : at + BATCH] for at in range(0, TEXTS, BATCH)]
    return kept(folder, key, "aarlab.models.feature_store", batches, model, progress=progress)


def test_features_are_in_the_order_of_the_texts_and_are_found_again(tmp_path):
    found = read(tmp_path, Model())
    assert found.zero_shot_logit_T.tolist() == list(range(TEXTS))
    assert (found.hidden_LTD[1, :, 0] == -np.arange(TEXTS)).all()
    assert (found.profile_TP[:, 0] == np.arange(TEXTS)).all()
    again = Model()
    assert np.array_equal(read(tmp_path, again).hidden_LTD, found.hidden_LTD)
    assert again.asked == 0


@pytest.mark.parametrize(("ends_at", "finished"), [(0, 0), (2, 0), (3, 3), (8, 6), (11, 9)])
def test_a_reading_that_was_killed_goes_on_after_its_last_whole_part(tmp_path, ends_at, finished):
    with pytest.raises(Killed):
        read(tmp_path, Model(ends_at))
    done, rest = [], Model()
    found = read(tmp_path, rest, progress=lambda n, of: done.append((n, of)))
    assert rest.asked == TEXTS // BATCH - finished
    assert done[0] == (finished * BATCH, TEXTS)
    assert done[-1] == (TEXTS, TEXTS)
    whole = read(tmp_path / "at once", Model())
    for field in ("hidden_LTD", "zero_shot_logit_T", "profile_TP"):
        assert np.array_equal(getattr(found, field), getattr(whole, field))
    store = FeaturesFolder(tmp_path / "features")
    assert not list(store.root.glob(store.parts("*").name)), "they are joined"


def test_parts_are_of_one_reading(tmp_path):
    with pytest.raises(Killed):
        read(tmp_path, Model(8), "one")
    other = Model()
    read(tmp_path, other, "another")
    assert other.asked == TEXTS // BATCH


def test_features_that_are_no_numbers_are_not_kept(tmp_path):
    def broken(batches):
        for features in Model()(batches):
            features.hidden_LTD[0, 0, 0] = np.inf
            yield features

    with pytest.raises(Misconfigured, match="not finite"):
        read(tmp_path, broken)
    assert not list(tmp_path.rglob("*.npz"))
