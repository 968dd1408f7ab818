import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.redteam.groups import decode, detecting_matrix, split


def test_the_matrix_of_order_two_by_hand():
    """Subsets of {1, 2}: four rows; two columns of {1, 2}, one of {1}, one of {2}. The only even
    subset of a singleton is the empty one, so its column is 1 where the row leaves it out."""
    matrix_RC = detecting_matrix(2)
    assert matrix_RC.shape == (4, 4)
    assert matrix_RC[:, 2].tolist() == [1, 0, 1, 0]
    assert matrix_RC[:, 3].tolist() == [1, 1, 0, 0]


@pytest.mark.slow
@given(k=st.integers(1, 6), data=st.data())
def test_counts_give_every_item(k, data):
    matrix_RC = detecting_matrix(k)
    hidden_C = np.array(
        data.draw(
            st.lists(st.integers(0, 1), min_size=matrix_RC.shape[1], max_size=matrix_RC.shape[1])
        )
    )
    assert decode(matrix_RC @ hidden_C, matrix_RC).tolist() == hidden_C.tolist()


@pytest.mark.parametrize(("n", "at_most"), [(300, 120), (1_263, 360), (10_000, 2_500)])
def test_far_fewer_questions_than_items(n, at_most):
    orders = split(n)
    assert sum(k << (k - 1) for k in orders) == n
    assert sum(1 << k for k in orders) <= at_most
