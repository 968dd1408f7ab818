"""RFC 9162's tree: against the published roots of the certificate-transparency reference tests, by
hand, and by properties."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.evaluation.ledger.merkle import EMPTY, Tree, includes, leaf_hash, node_hash

INPUTS = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
SIZES = st.integers(1, 70)


def leaves(count):
    return [leaf_hash(str(n).encode()) for n in range(count)]


@pytest.mark.parametrize("size", range(1, 9))
def test_the_published_roots(size):
    assert (
        Tree(leaf_hash(bytes.fromhex(text)) for text in INPUTS[:size]).root().hex()
        == ROOTS[size - 1]
    )


def test_by_hand():
    a, b, c = leaves(3)
    assert leaf_hash(b"x") == hashlib.sha256(b"\0x").digest()
    assert Tree().root() == EMPTY == hashlib.sha256(b"").digest()
    assert Tree([a]).root() == a
    assert Tree([a, b, c]).root() == node_hash(node_hash(a, b), c)
    assert Tree([a, b, c]).inclusion(2) == [node_hash(a, b)]


@given(size=SIZES, data=st.data())
def test_earlier_roots_stay_known(size, data):
    earlier = data.draw(st.integers(0, size))
    assert Tree(leaves(size)).root(earlier) == Tree(leaves(earlier)).root()


@given(size=SIZES, data=st.data())
def test_every_leaf_can_be_proven_and_no_other_in_its_place(size, data):
    tree, index = Tree(leaves(size)), data.draw(st.integers(0, size - 1))
    leaf, path = leaves(size)[index], tree.inclusion(index)
    assert includes(tree.root(), size, index, leaf, path)
    assert not includes(tree.root(), size, index, leaf_hash(b"another"), path)
    assert not includes(leaf_hash(b"another"), size, index, leaf, path)
    assert not includes(tree.root(), size, size, leaf, path)
    other = data.draw(st.integers(0, size - 1))
    assert other == index or not includes(tree.root(), size, other, leaf, path)
    assert not includes(tree.root(), size, index, leaf, [*path, leaf])
    assert not path or not includes(tree.root(), size, index, leaf, path[:-1])


@pytest.mark.parametrize(
    "ask", [lambda t: t.root(4), lambda t: t.inclusion(3), lambda t: t.root(-1)]
)
def test_what_is_not_there_is_an_error(ask):
    with pytest.raises(IndexError):
        ask(Tree(leaves(3)))
