"""The Metered Ladder: "improved or not", priced by a public prefix code, with a cap in bits. The default policy."""

import math
from dataclasses import dataclass

from aarlab.evaluation.policies import POLICIES, Answer, Channel, Outlook, set_up_bits, standard_error

NEVER = 1 / 16  # share of the code kept for "no improvement ever again"
TAIL = 2  # the larger, the later an improvement is expected
RISE = 1 / 8  # the share of improvements that are expected to go a step higher
IDENTITIES = 9  # identities that are expected; later ones share a tenth of the prior
STEP_SE, STEP_LEAST = 1.25, 0.0175  # a step: the larger of this many standard errors and this accuracy


@dataclass(frozen=True)
class MeteredLadder:
    """One Ladder (Blum & Hardt 2015, arXiv:1502.04585) for a label set, whoever asks, with a ledger of released bits.

    The answer to a submission is "no", or "yes" and how many steps the level rises (rounded down, so the level never exceeds an
    accuracy that was reached). Between two yeses (an epoch), the next yes to identity a at its t-th submission of the epoch
    with a rise of j steps has the weight

        q(a, t, j) = (1 - r) w_a  tau / ((t + tau - 1)(t + tau))  (1 - z) z^(j - 1)

    where r = NEVER is kept for "never again", tau = TAIL, z = RISE, and w_a = (yes_a + c p_a) / (yes + c), c = K/2, with a
    fixed prior p over identities in the order of their coming (Krichevsky & Trofimov 1981). In an epoch the weights sum to at
    most 1 - r, so along any path they form a prefix code. A yes costs -log2 q bits; a run of "no" costs -log2(1 - the weight
    passed) <= log2(1/r) bits in all, however long. Before a label is looked at, it is checked that the cheapest yes fits under
    the cap L, and under half of it for this identity; where it does not, the answer is the constant "no" (sealed), which
    carries nothing. The highest rise that still fits is fixed before, too.

    A climb costs so many yeses of some 7 bits, hardly more on more items; so the cap is a number of bits, the step an accuracy,
    and the bound shrinks as 1 / sqrt(n). On few items two more limits: a step is at least 1.25 standard errors (less is noise),
    the cap a share of n. Chosen by simulating honest fleets: docs/redteam/scan.md.

    Assumptions of both theorems: (i) given all that the submitters know from elsewhere, the labels are independent across
    items, or (ii) the items are drawn independently (in fixed numbers from each class, say) and a submission is a function of
    items; and this channel is the only thing that leaves and depends on the labels, time, errors and logs included. Labels that
    are dealt out at random to items, so many of each class, are independent ones under a condition of probability h; this adds
    log2(1/h) bits, some log2(1.25 sqrt(n)) for two equal classes. Submitters may be many, collude, adapt and compute without
    limit. What set-up tells once about these labels counts, too: the level at the start and the two ends of the PGR scale, each
    rounded to one of g = 2 sqrt(n) + 1 values.

    Theorem 1 (validity). With probability at least 1 - delta, simultaneously for every yes ever told, with b the bits by then:
        n kl(level || true accuracy) <= b ln 2 + ln(s / delta), so
        level - true accuracy <= sqrt((b ln 2 + ln(s / delta)) / (2n)), with s = g^3 (1 - r) / r.
    Proof. Fix the submitters' coins and what set-up told: what is submitted at a node of the tree of transcripts is then a
    fixed vector. For one such vector, accuracy on the n items exceeds the truth by that much with probability at most
    delta 2^-b / s (Hoeffding 1963, theorem 1, which needs no equal means and takes the mean of five seeds). The weights 2^-b of
    the yes-nodes at depth B sum to at most (1 - r)^B (Kraft), over all depths to (1 - r) / r; then sum over what set-up can
    tell. It is the description-length bound of Dwork et al. 2015 with a universal code: no number of submissions enters.

    Theorem 2 (leak). Set-up and transcript are coded by at most B = L + log2(1/r) + 3 log2 g bits, so
    I(labels; all that is told) <= B; and if an event about labels and submitters has probability at most p whatever submitters
    do who hear nothing, it has at most 2^B p here (a sum over the at most 2^B things that can be told).
    """

    cap: float  # L, bits; infinite: the plain fixed-step Ladder
    cap_share: float = math.inf  # L is at most this times n
    step_se: float = STEP_SE
    step_least: float = STEP_LEAST  # accuracy
    identities: int = IDENTITIES
    identity_share: float = 0.5  # of the cap, for one identity
    never: float = NEVER  # r
    tail: float = TAIL  # tau
    rise: float = RISE  # z

    def tell(self, channel: Channel, who: str, accuracy: float) -> Answer:
        """See the class."""
        weight = self._weight(channel, who)
        highest = self._highest_rise(channel, who, weight)
        if highest == 0:
            return Answer(False, channel.level)
        step = self.step(channel.n)
        rise = min(highest, math.floor((accuracy - channel.level) / step + 1e-9))
        if rise < 1:
            return Answer(False, channel.level, mass=weight)
        return Answer(True, channel.level + rise * step, bits=self._cost(weight, rise))

    def outlook(self, channel: Channel, who: str) -> Outlook:
        """See the class."""
        weight = self._weight(channel, who)
        sealed = self._highest_rise(channel, who, weight) == 0
        return Outlook(
            next_step=channel.level + self.step(channel.n),
            price_bits=None if sealed else self._cost(weight, 1),
            tier="sealed" if sealed else "open",
            cap_bits=self.cap_bits(channel.n),
            slack_bits=math.log2((1 - self.never) / self.never) + set_up_bits(channel.n),
        )

    def cap_bits(self, n: int) -> float | None:
        """L, or None where there is no cap."""
        return None if math.isinf(self.cap) else min(self.cap, self.cap_share * n)

    def step(self, n: int) -> float:
        """The least rise that is told (accuracy)."""
        return max(self.step_se * standard_error(n), self.step_least)

    def price(self, t: float, share: float) -> float:
        """Bits of a yes of one step at the t-th submission of an epoch by an identity of that share w_a."""
        return self._cost(self._timed(max(t, 1)) * share, 1)

    def _timed(self, t: float) -> float:
        return (1 - self.never) * self.tail / ((t + self.tail - 1) * (t + self.tail))

    def _weight(self, channel: Channel, who: str) -> float:
        """Weight of a yes to `who` now, of any rise."""
        return self._timed(channel.asked[who] + 1) * self._share(channel, who)

    def _share(self, channel: Channel, who: str) -> float:
        """w_a; sums to at most 1 over all identities that ever come."""
        place = channel.order.get(who, len(channel.order) + 1)
        late = place - self.identities
        prior = 0.9 / self.identities if late <= 0 else 0.1 / (late * (late + 1))
        c = self.identities / 2
        return (channel.yes[who] + c * prior) / (channel.yes.total() + c)

    def _highest_rise(self, channel: Channel, who: str, weight: float) -> int:
        """The highest rise whose price fits under the cap and this identity's part of it; 0: sealed. Uses no label."""
        cap = self.cap_bits(channel.n)
        if cap is None:
            return channel.n
        left = min(cap - channel.bits, self.identity_share * cap - channel.spent[who])
        spare = left - self._cost(weight, 1)
        return 0 if spare < 0 else 1 + int(spare / -math.log2(self.rise))

    def _cost(self, weight: float, rise: int) -> float:
        """Bits of a yes of that rise where a yes of any rise has that weight."""
        return -math.log2(weight * (1 - self.rise)) - math.log2(self.rise) * (rise - 1)


POLICIES.add("ladder")(MeteredLadder(math.inf, step_se=1, step_least=0))
POLICIES.add("strict")(MeteredLadder(70, cap_share=1 / 16))
POLICIES.add("default")(MeteredLadder(140, cap_share=1 / 8))
POLICIES.add("roomy")(MeteredLadder(280, cap_share=1 / 4))
