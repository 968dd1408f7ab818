"""The Merkle tree of RFC 6962 (RFC 9162, section 2.1): roots, inclusion proofs and their verifier.

All hashes are SHA-256 (32 bytes). A tree commits to a list; its root at an earlier size is still
known, so that what was signed then can be checked now. https://www.rfc-editor.org/rfc/rfc9162
"""

import hashlib
from collections.abc import Iterable, Sequence

BYTES = 32
EMPTY = hashlib.sha256().digest()


def leaf_hash(data: bytes) -> bytes:
    """The hash of one entry: SHA-256(0x00 || data)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two neighbours: SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """Grows by leaf hashes. Keeps the hash of every complete subtree (64 bytes a leaf), hence O(log
    n) for all but `append`, which takes one node hash on average."""

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        # level k: subtrees of 2**k leaves, side by side
        self._levels: list[bytearray] = [bytearray()]
        for leaf in leaves:
            self.append(leaf)

    @classmethod
    def of(cls, levels: Sequence[bytes]) -> "Tree":
        """The tree that had these `levels`."""
        made = cls()
        made._levels = [bytearray(level) for level in levels]
        return made

    @property
    def levels(self) -> tuple[bytes, ...]:
        """All hashes, from the leaves up."""
        return tuple(map(bytes, self._levels))

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return len(self._levels[0]) // BYTES

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        self._levels[0] += leaf
        for level, nodes in enumerate(self._levels):
            if len(nodes) // BYTES % 2:
                return
            if level + 1 == len(self._levels):
                self._levels.append(bytearray())
            self._levels[level + 1] += node_hash(
                bytes(nodes[-2 * BYTES : -BYTES]), bytes(nodes[-BYTES:])
            )

    def root(self, size: int | None = None) -> bytes:
        """The root of the first `size` leaves; of all if not given."""
        size = self._within(size)
        return self._subtree(0, size) if size else EMPTY

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """The path from leaf `index` (from 0) to the root of the first `size` leaves (RFC 9162,
        2.1.3.1)."""
        return [self._subtree(low, high) for low, high in self.spans(index, size)]

    def spans(self, index: int, size: int | None = None) -> list[tuple[int, int]]:
        """Of each node of that path, the leaves low..high-1 that it stands for."""
        low, high, path = 0, self._within(size), []
        if not 0 <= index < high:
            raise IndexError(f"leaf {index} of {high}")
        while high - low > 1:
            middle = low + _split(high - low)
            if index < middle:
                path.append((middle, high))
                high = middle
            else:
                path.append((low, middle))
                low = middle
        return path[::-1]

    def _within(self, size: int | None) -> int:
        if size is None:
            return self.size
        if not 0 <= size <= self.size:
            raise IndexError(f"size {size} of {self.size}")
        return size

    def _subtree(self, low: int, high: int) -> bytes:
        """The root of leaves low..high-1, where low is a multiple of the least power of two that
        holds them."""
        count = high - low
        if count & (count - 1) == 0:
            at = low // count * BYTES
            return bytes(self._levels[count.bit_length() - 1][at : at + BYTES])
        middle = low + _split(count)
        return node_hash(self._subtree(low, middle), self._subtree(middle, high))


def _split(count: int) -> int:
    """The largest power of two below `count` (2 or more)."""
    return 1 << ((count - 1).bit_length() - 1)


def includes(root: bytes, size: int, index: int, leaf: bytes, path: Sequence[bytes]) -> bool:
    """Whether the path shows that `leaf` is number `index` (from 0) of the tree of that size and
    root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    number, last, found = index, size - 1, leaf
    for node in path:
        if last == 0:
            return False
        if number & 1 or number == last:
            found = node_hash(node, found)
            number, last = _climb(number, last)
        else:
            found = node_hash(found, node)
        number, last = number >> 1, last >> 1
    return last == 0 and found == root


def _climb(number: int, last: int) -> tuple[int, int]:
    """Pass the levels on which the node at the right edge has no neighbour."""
    while number and not number & 1:
        number, last = number >> 1, last >> 1
    return number, last
