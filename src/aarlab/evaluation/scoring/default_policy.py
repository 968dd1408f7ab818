"""The Metered Ladder: "improved or not", priced by a public prefix code, with a cap in bits. The
default policy."""

import math
from dataclasses import dataclass

from aarlab.evaluation.scoring.policies import (
    POLICIES,
    Answer,
    Channel,
    Outlook,
    set_up_bits,
    standard_error,
)

NEVER = 1 / 16  # share of the code kept for "no improvement ever again"
TAIL = 2  # the larger, the later an improvement is expected
RISE = 1 / 8  # the share of improvements that are expected to go a step higher
IDENTITIES = 9  # identities that are expected; later ones share a tenth of the prior
# a step: the larger of this many standard errors and this share of the gap between weak accuracy
# and ceiling, or this accuracy where no gap is known
STEP_SE, STEP_SHARE, STEP_LEAST = 1.0, 1 / 16, 0.0175


@dataclass(frozen=True)
class MeteredLadder:
    """One Ladder (Blum & Hardt 2015, arXiv:1502.04585) for a label set, whoever asks, with a ledger
    of released bits.

    The answer to a submission is "no", or "yes" and how many steps the level rises (rounded down,
    so the level never exceeds an accuracy that was reached). Between two yeses (an epoch), the next
    yes to identity a at its t-th submission of the epoch with a rise of j steps has the weight

        q(a, t, j) = (1 - r) w_a  tau / ((t + tau - 1)(t + tau))  (1 - z) z^(j - 1)

    where r = NEVER is kept for "never again", tau = TAIL, z = RISE, and w_a = (yes_a + c p_a) /
    (yes + c), c = K/2, with a fixed prior p over identities in the order of their coming
    (Krichevsky & Trofimov 1981). In an epoch the weights sum to at most 1 - r, so along any path
    they form a prefix code. A "yes" costs -log2 q bits; a run of "no" costs -log2(1 - the weight
    passed) <= log2(1/r) bits in all, however long. Before a label is looked at, it is checked that
    the cheapest yes fits under the cap L, and under half of it for this identity; where it does
    not, the answer is the constant "no" (sealed), which carries nothing. The highest rise that
    still fits is fixed before, too.

    A climb costs so many yeses of some 7 bits, hardly more on more items; so the cap is a number of
    bits, the step a share of the gap between the two ends of the PGR scale (an accuracy, where
    there is no scale), and the bound shrinks as 1 / sqrt(n). On few items two more limits: a step
    is at least one standard error (less is noise), the cap a share of n, the number of independent
    labels. Chosen by simulating honest fleets: docs/redteam/scan.md.

    Assumptions of both theorems: the items lie in groups (`Units`: one item each, if nobody says
    more and no texts are alike), and (i) given all that the submitters know from elsewhere, labels
    of different groups are independent, or (ii) the groups are drawn independently (in fixed
    numbers from each class, say) and a submission is a function of items; and this channel and the
    verdicts of confirmations are all that leaves and depends on the labels, time, errors and logs
    included. Labels that are dealt out at random, so many of each class in a stratum, are
    independent ones under a condition of probability h; this is charged with log2(1/h) bits
    (`Units.deal_bits`), some log2(1.25 sqrt(n)) for two equal classes. Submitters may be many,
    collude, adapt and compute without limit. What set-up releases once about these labels is
    charged, too: the level at the start and the two ends of the PGR scale, each a mean over seeds,
    released to the next multiple of 1 / (10 N): one of g = 10 N + 1 values. So is each verdict
    (`FEEDBACK_BITS`), v bits in all by now; L does not hold these down.

    Theorem 1 (validity). With probability at least 1 - delta, simultaneously for every "yes" ever
    reported, with b the bits by then, of N items in groups of m_g, the largest of M, n = N^2 / sum
    m_g^2 (N where each stands alone):
        level - true accuracy <= sqrt((b ln 2 + ln(s / delta)) / (2n)), with s = g^3 2^v (1 - r) /
        (r h), and (N / M) kl(level || true accuracy) <= b ln 2 + ln(s / delta).
    Proof. Fix the submitters' coins and what set-up released: what is submitted at a node of the
    tree of transcripts is then a fixed vector. For one such vector, its number of right answers is
    a sum of independent group totals, each in [0, m_g], so accuracy exceeds the truth by e with
    probability at most exp(-2 N^2 e^2 / sum m_g^2) (Hoeffding 1963, theorem 2, which needs no equal
    means and takes the mean of five seeds). With kl: log(1 - p + p exp(t m)) is convex in m and 0
    at m = 0, so at most m / M times its value at M, and concave in p; summed over groups, that is
    theorem 1 of Hoeffding for N / M items. (With n in place of N / M it is false: one large group
    is uncertain, all others are known.) So what is e for delta 2^-b / s is exceeded with that
    probability. The weights 2^-b of the yes-nodes at depth B sum to at most (1 - r)^B (Kraft), over
    all depths to (1 - r) / r, times those of verdicts, which sum to 1; then sum over what set-up
    can release. It is the description-length bound of Dwork et al. 2015 with a universal code: no
    number of submissions enters.

    Theorem 2 (leak). Set-up, transcript and verdicts are coded by at most B = L + log2(1/r) + 3
    log2 g + v bits, so I(labels; all that is released) <= B; and if an event about labels and
    submitters has probability at most p whatever submitters do who hear nothing, it has at most 2^B
    p here (a sum over the at most 2^B things that can be released).
    """

    cap: float  # L, bits; infinite: the plain fixed-step Ladder
    cap_share: float = math.inf  # L is at most this times n
    step_se: float = STEP_SE
    step_share: float = STEP_SHARE  # of the gap
    step_least: float = STEP_LEAST  # accuracy
    identities: int = IDENTITIES
    identity_share: float = 0.5  # of the cap, for one identity
    never: float = NEVER  # r
    tail: float = TAIL  # tau
    rise: float = RISE  # z

    def answer(self, channel: Channel, who: str, accuracy: float) -> Answer:
        """See the class."""
        weight = self._weight(channel, who)
        highest = self._highest_rise(channel, who, weight)
        if highest == 0:
            return Answer(False, channel.level)
        step = self.step(channel)
        rise = min(highest, math.floor((accuracy - channel.level) / step + 1e-9))
        if rise < 1:
            return Answer(False, channel.level, mass=weight)
        return Answer(True, channel.level + rise * step, bits=self._cost(weight, rise))

    def outlook(self, channel: Channel, who: str) -> Outlook:
        """See the class."""
        weight = self._weight(channel, who)
        sealed = self._highest_rise(channel, who, weight) == 0
        return Outlook(
            next_step=channel.level + self.step(channel),
            price_bits=None if sealed else self._cost(weight, 1),
            tier="sealed" if sealed else "open",
            cap_bits=self.cap_bits(channel.n),
            slack_bits=math.log2((1 - self.never) / self.never)
            + set_up_bits(channel.items or channel.n)
            + channel.beside,
        )

    def cap_bits(self, n: int) -> float | None:
        """L, or None where there is no cap."""
        return None if math.isinf(self.cap) else min(self.cap, self.cap_share * n)

    def step(self, channel: Channel) -> float:
        """The least rise that is reported (accuracy). It depends on what set-up released alone."""
        least = self.step_least if channel.gap is None else self.step_share * channel.gap
        return max(self.step_se * standard_error(channel.n), least)

    def price(self, t: float, share: float) -> float:
        """Bits of an improvement of one step at the t-th submission of an epoch by an identity of
        that share w_a."""
        return self._cost(self._timed(max(t, 1)) * share, 1)

    def _timed(self, t: float) -> float:
        return (1 - self.never) * self.tail / ((t + self.tail - 1) * (t + self.tail))

    def _weight(self, channel: Channel, who: str) -> float:
        """Weight of an improvement to `who` now, of any rise."""
        return self._timed(channel.asked[who] + 1) * self._share(channel, who)

    def _share(self, channel: Channel, who: str) -> float:
        """w_a; sums to at most 1 over all identities that ever come."""
        place = channel.order.get(who, len(channel.order) + 1)
        late = place - self.identities
        prior = 0.9 / self.identities if late <= 0 else 0.1 / (late * (late + 1))
        c = self.identities / 2
        return (channel.yes[who] + c * prior) / (channel.yes.total() + c)

    def _highest_rise(self, channel: Channel, who: str, weight: float) -> int:
        """The highest rise whose price fits under the cap and this identity's part of it; 0:
        sealed. Uses no label."""
        cap = self.cap_bits(channel.n)
        if cap is None:
            return channel.n
        left = min(cap - channel.bits, self.identity_share * cap - channel.spent[who])
        spare = left - self._cost(weight, 1)
        return 0 if spare < 0 else 1 + int(spare / -math.log2(self.rise))

    def _cost(self, weight: float, rise: int) -> float:
        """Bits of an improvement of that rise where one of any rise has that weight."""
        return -math.log2(weight * (1 - self.rise)) - math.log2(self.rise) * (rise - 1)


POLICIES.add("ladder")(MeteredLadder(math.inf, step_share=0, step_least=0))
POLICIES.add("strict")(MeteredLadder(70, cap_share=1 / 16))
POLICIES.add("default")(MeteredLadder(140, cap_share=1 / 8))
POLICIES.add("roomy")(MeteredLadder(280, cap_share=1 / 4))
