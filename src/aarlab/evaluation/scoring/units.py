"""How many independent labels a label set has: items that are dependent count as one group.

Legend: N items, group g of m_g items, M the largest group.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

NO_KL = 1e-9


@dataclass(frozen=True)
class Units:
    """The groups of a label set, and the strata in which its labels were dealt in fixed numbers.

    Within a group labels may be dependent in any way; between groups they are assumed to be
    independent.
    """

    groups: tuple[int, ...]  # items of each group
    strata: tuple[int, ...]  # of each stratum, the sum over its groups of (their items in it)^2
    of_labels: bool = True  # False: what is bounded is no mean of answers that are right or wrong

    @classmethod
    def of(
        cls, ids: Sequence[str], group: Mapping[str, str], stratum: Mapping[str, Hashable]
    ) -> "Units":
        """By id. An item without a group is one of its own; without strata, all items are in
        one."""
        names = named_units(ids, group)
        parts: dict[Hashable, Counter[Hashable]] = defaultdict(Counter)
        for name, i in zip(names, ids, strict=True):
            parts[stratum.get(i)][name] += 1
        return cls(
            tuple(Counter(names).values()),
            tuple(sum(m * m for m in part.values()) for part in parts.values()),
        )

    @property
    def items(self) -> int:
        """N."""
        return sum(self.groups)

    @cached_property
    def independent(self) -> int:
        """The n of every bound and standard error, N^2 / sum m_g^2, rounded down: N where every
        item stands alone, N / m in groups of m, never more than there are groups."""
        return max(1, self.items**2 // sum(m * m for m in self.groups))

    @property
    def least(self) -> float:
        """The n of the bound with kl, N / M: sum m_g^2 <= M N, so it is at most `independent`
        before rounding. That bound is of means in [0, 1] as they are; a score that is shifted or
        combined has Hoeffding's alone, and next to no n here."""
        return self.items / max(self.groups) if self.of_labels else NO_KL

    @cached_property
    def deal_bits(self) -> float:
        """log2(1/h), h the probability that independent labels come in the numbers in which they
        were dealt, so many of each class in each stratum: of s = sum m_g^2 fair coins half are 1
        with probability C(s, s/2) / 2^s.

        That is exact for items that stand alone and are half of each class, and the largest charge
        there is for other counts. In groups, whatever the labels inside do, the count's variance is
        at most s / 4 (local limit theorem).
        """
        return sum(_half_of(s) for s in self.strata)


def named_units(ids: Sequence[str], group: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Of each item, a name that it shares with its group alone."""
    return [(group[i],) if i in group else (i, "alone") for i in ids]


@lru_cache(maxsize=64)
def units_of(labels: Units | int) -> Units:
    """So many labels, each a group of its own and all in one stratum; groups are left as they
    are."""
    return labels if isinstance(labels, Units) else Units((1,) * labels, (labels,))


def _half_of(coins: int) -> float:
    """-log2 of the probability that half of so many fair coins, rounded down, are 1."""
    half = coins // 2
    ways = math.lgamma(coins + 1) - math.lgamma(half + 1) - math.lgamma(coins - half + 1)
    return coins - ways / math.log(2)
