import numpy as np
import pytest

from aarlab.models.surprisal import TOP, TokenReading, profile, zero_shot_logit


def reading(surprisal, entropy=0.0):
    values = np.array(surprisal, float)
    return TokenReading(values, np.broadcast_to(entropy, values.shape), np.zeros_like(values))


def test_the_zero_shot_logit_is_minus_the_largest_excess_by_hand():
    """Excess = surprisal - entropy: 1 - 0.5, 3 - 1, 2 - 2: the largest is 2."""
    assert zero_shot_logit(reading([1, 3, 2], entropy=[0.5, 1, 2])) == -2


def test_a_profile_has_one_width_however_long_the_choice():
    assert profile(reading([1.0])).shape == profile(reading(np.arange(40))).shape
    assert np.isfinite(profile(reading([1.0]))).all()


def test_a_profile_begins_with_the_largest_surprisals_compressed():
    """Largest first, sign(x) log(1 + |x|); a short series is padded with its smallest."""
    expected = np.log1p([5, 3, 1] + [1] * (TOP - 3))
    assert profile(reading([1, 5, 3]))[:TOP] == pytest.approx(expected)


def test_one_surprising_token_shows():
    plain, odd = profile(reading([0.1] * 20)), profile(reading([0.1] * 19 + [6.0]))
    assert odd[0] > plain[0] + 1
