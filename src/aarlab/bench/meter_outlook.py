"""What the default policy would guarantee on a problem in a folder, as text for its card.

The combined score of a submission is a function of independent clusters, of which each changes it
by c_g at most (`core.objectives.changes`). By McDiarmid's inequality it is more than e above its
expectation on new units with probability exp(-2 e^2 / sum c_g^2) at most: that of Theorem 1 of
`MeteredLadder` with n = 1 / sum c_g^2 in place of the number of labels. So the bound is in units of
the combined score, and the gap from floor to ceiling is in it.
"""

from collections import Counter
from collections.abc import Mapping

from aarlab.core.objectives import changes, mcdiarmid_n
from aarlab.evaluation.scoring.bounds import inflation_bound
from aarlab.evaluation.scoring.policies import POLICIES, start
from aarlab.evaluation.scoring.units import Units
from aarlab.problems.folder.folder_problem import Contract

COARSE = 0.5  # of a combined score: a bound beyond it says little


def meter_bound(
    contract: Contract, units: Mapping[str, str], ends: Mapping[str, tuple[float, float]]
) -> tuple[float, float]:
    """(cap in bits, bound on the combined score when all are spent). `units`: of feedback, each
    with its cluster; `ends`: of every objective, floor and ceiling as unit scores."""
    sizes = Counter(units.values())
    shares = {cluster: size / len(units) for cluster, size in sizes.items()}
    gaps = [ends[o.name][1] - ends[o.name][0] for o in contract.climbed]
    n = mcdiarmid_n(changes(contract.combine, gaps, [shares] * len(gaps)))
    channel = start(0.5, Units(tuple(sizes.values()), ()))
    outlook = POLICIES["default"].outlook(channel, "researcher-1")
    cap = outlook.cap_bits or 0.0
    return cap, inflation_bound(cap, n, slack_bits=outlook.slack_bits)


def meter_words(
    contract: Contract, units: Mapping[str, str], ends: Mapping[str, tuple[float, float]]
) -> str:
    """The same as a sentence."""
    cap, bound = meter_bound(contract, units, ends)
    few = " Take more units of feedback." if bound > COARSE else ""
    return (
        f"Were feedback scored by the default policy, no reported score could be more than "
        f"{bound:.2f} (combined, 95 %) above what is expected on new units, after all {cap:.0f} "
        f"bits were released.{few}"
    )
