"""Internal coherence maximisation: labels that the strong model finds mutually predictable in
context; no weak label is used.

After Wen et al. 2025 (arXiv:2506.10139, algorithm 1), who maximise U = sum over i of log P(y_i |
x_i, all other labels) by simulated annealing. Here item i is predicted after a few demonstrations,
which are drawn again in each sweep. Within a sweep U is then a sum over a sparse graph: a flip
changes the terms of its item and of the items that it demonstrates. Flips that share no term are
judged in one call, and each is kept or undone by its exact change of U. Logits are compared with
their median, because labels are balanced. Legend: N student items, n items asked about, K
demonstrations.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit

from aarlab.core.errors import InvalidSubmission
from aarlab.methods.method import Array, Inputs, Task
from aarlab.models.student_contract import Strong

Rows = NDArray[np.intp]
# row -> (row that it contradicts, whether also both 0 is a contradiction)
Links = dict[int, list[tuple[int, bool]]]
UNKNOWN = -1
SETTLED = 2


@dataclass(frozen=True)
class SearchBudget:
    """The budget. `asks` is the most items that are judged after demonstrations during the search,
    which ends sooner once SETTLED sweeps in a row have kept no flip. Labelling the rest takes N -
    pool more."""

    asks: int = 4096
    pool: int = 192  # items whose labels are searched for; the others are predicted from these
    start: int = 8  # first labels: the zero-shot judgement of the surest items
    shots: int = 8  # demonstrations of an item, as many of either label as there are
    sweeps: int = 2  # over the labelled items, each time that their number has doubled
    # share of the labelled items, the least predictable ones, that a sweep tries to flip
    flips: float = 0.3
    # temperature of the first sweep (nats of U), divided by 1, 2, 3, ... in the following ones
    hot: float = 1.0

    def __post_init__(self) -> None:
        if not (
            2 <= self.start <= self.pool and self.shots >= 1 and self.asks >= 0 and self.hot > 0
        ):
            raise InvalidSubmission(
                f"A search needs 2 <= start <= pool, shots >= 1, asks >= 0 and hot > 0, got {self}."
            )


def elicit_in_context(task: Task, seed: int, search: SearchBudget | None = None) -> Array:
    """Probabilities (N,) of label 1 for the student items: 0 or 1 in the pool, the model's
    prediction after it elsewhere.

    Raises:
        InvalidSubmission: the student is frozen, so that there is no context to predict in.
    """
    if task.strong is None:
        raise InvalidSubmission(
            "This task's student is frozen and reads no demonstrations: use parts.elicited_labels."
        )
    items, search = task.student, search or SearchBudget()
    rng = np.random.default_rng(seed)
    pool = np.sort(rng.permutation(len(items))[: search.pool])
    state = _State(task.strong, search, rng, contradictions(items), np.full(len(items), UNKNOWN))
    state.begin(pool, items.zero_shot_logit_N)
    while state.known.size < pool.size and state.can_ask(state.known.size):
        state.grow(pool)
        state.quiet = 0
        for _ in range(search.sweeps):
            state.sweep()
    while state.quiet < SETTLED and state.sweep():
        pass
    return state.predict_rest()


@dataclass
class _State:
    """Labels so far (N,), UNKNOWN where there is none, the graph of this sweep, and what was
    asked."""

    strong: Strong
    search: SearchBudget
    rng: np.random.Generator
    links: Links
    labels: Rows
    asked: int = 0
    swept: int = 0
    quiet: int = 0  # sweeps in a row that kept no flip
    middle: float = 0.0
    shown: dict[int, Rows] = field(default_factory=dict)  # row -> its demonstrations' rows
    # row -> log P(its label | its demonstrations)
    terms: dict[int, float] = field(default_factory=dict)

    @property
    def known(self) -> Rows:
        return np.flatnonzero(self.labels != UNKNOWN)

    def can_ask(self, items: int) -> bool:
        return 0 < items <= self.search.asks - self.asked

    def begin(self, pool: Rows, zero_shot_logit_N: Array) -> None:
        """Label the surest items of the pool by the zero-shot judgement, half of them 0 and half
        1."""
        by_logit = pool[np.argsort(zero_shot_logit_N[pool], kind="stable")]
        ones = self.search.start // 2
        for row in by_logit[::-1][:ones]:
            self._label(int(row), 1, pool)
        for row in by_logit[: self.search.start - ones]:
            self._label(int(row), 0, pool)

    def grow(self, pool: Rows) -> None:
        """Judge up to twice as many unlabelled items as there are labelled ones, and label the more
        predictable half."""
        size = self.known.size
        left = np.setdiff1d(pool, self.known)
        some = self.rng.permutation(left)[: min(2 * size, self.search.asks - self.asked)]
        logits_n = self._ask(some, [self._draw(int(r)) for r in some])
        logits_n = logits_n - np.median(logits_n)
        for at in np.argsort(-np.abs(logits_n), kind="stable")[: max(size, len(left) - size)]:
            self._label(int(some[at]), int(logits_n[at] > 0), pool)

    def sweep(self) -> bool:
        """Draw the graph again and try to flip the least predictable labels; False if the budget
        does not reach for that."""
        known = self.known
        if not self.can_ask(known.size):
            return False
        self.shown = {int(r): self._draw(int(r)) for r in known}
        logits_n = self._ask(known, list(self.shown.values()))
        self.middle = float(np.median(logits_n))
        self.terms = dict(
            zip(self.shown, self._log_probs(logits_n, self.labels[known]), strict=True)
        )
        self.swept, self.quiet = self.swept + 1, self.quiet + 1
        waiting = sorted(self.terms, key=self.terms.__getitem__)[
            : max(1, round(self.search.flips * known.size))
        ]
        while waiting and (chosen := self._apart(waiting)):
            self._try(chosen)
            waiting = [r for r in waiting if r not in chosen]
        return True

    def predict_rest(self) -> Array:
        """The labels found, and for all other items the prediction after demonstrations from among
        these, (N,)."""
        rest = np.flatnonzero(self.labels == UNKNOWN)
        probs_N = self.labels.astype(np.float64)
        if rest.size:
            logits_n = self._ask(rest, [self._draw(int(r)) for r in rest])
            probs_N[rest] = expit(logits_n - np.median(logits_n))
        return probs_N

    def _apart(self, waiting: Sequence[int]) -> dict[int, dict[int, int]]:
        """Of the waiting flips, in order, those that share no term with one before and that the
        budget reaches for: row -> the labels that change with it."""
        taken: set[int] = set()
        chosen = {}
        for row in waiting:
            change = {
                k: y
                for k, y in self._consistent(row, 1 - int(self.labels[row])).items()
                if self.labels[k] != UNKNOWN
            }
            touched = self._touched(change)
            if not touched & taken and self.can_ask(len(taken) + len(touched)):
                taken |= touched
                chosen[row] = change
        return chosen

    def _touched(self, change: dict[int, int]) -> set[int]:
        """The rows whose term a change of labels changes: its own, and those that it
        demonstrates."""
        return set(change) | {
            k for k, shown in self.shown.items() if not set(change).isdisjoint(shown.tolist())
        }

    def _try(self, chosen: dict[int, dict[int, int]]) -> None:
        """Judge all touched terms under the flipped labels, and keep a flip by Metropolis' rule."""
        before = self.labels.copy()
        touched = {row: sorted(self._touched(change)) for row, change in chosen.items()}
        for change in chosen.values():
            self._set(change)
        rows = np.array([k for some in touched.values() for k in some], dtype=np.intp)
        new = self._log_probs(
            self._ask(rows, [self.shown[int(k)] for k in rows]), self.labels[rows]
        )
        after = dict(zip(rows.tolist(), new, strict=True))
        for row, change in chosen.items():
            gain = sum(after[k] - self.terms[k] for k in touched[row])
            if self.rng.random() < np.exp(min(0.0, gain * self.swept / self.search.hot)):
                self.terms.update({k: after[k] for k in touched[row]})
                self.quiet = 0
            else:
                self._set({k: int(before[k]) for k in change})

    def _consistent(self, row: int, label: int) -> dict[int, int]:
        """The labels that change when the row gets this one: its own, and those that would
        contradict it."""
        others = {
            other: 1 - label
            for other, opposite in self.links.get(row, [])
            if opposite or label == 1
        }
        return {row: label, **others}

    def _set(self, change: dict[int, int]) -> None:
        for row, label in change.items():
            self.labels[row] = label

    def _label(self, row: int, label: int, pool: Rows) -> None:
        """A first label, unless labels that there are oblige it to another; and the labels of the
        pool that follow from it."""
        if self.labels[row] != UNKNOWN:
            return
        for other, opposite in self.links.get(row, []):
            if self.labels[other] == 1 or (opposite and self.labels[other] == 0):
                label = 1 - int(self.labels[other])
        self._set(
            {
                k: y
                for k, y in self._consistent(row, label).items()
                if k in pool and self.labels[k] in (UNKNOWN, y)
            }
        )

    def _draw(self, row: int) -> Rows:
        """Up to `shots` labelled rows other than this one and those linked with it: half of either
        label where there are so many, in random order."""
        linked = {row, *(other for other, _ in self.links.get(row, []))}
        others = self.rng.permutation([r for r in self.known if r not in linked]).astype(np.intp)
        of = [others[self.labels[others] == label] for label in (0, 1)]
        half = self.search.shots // 2
        first = np.concatenate([of[0][:half], of[1][: self.search.shots - half]])
        more = np.setdiff1d(others, first)[: self.search.shots - first.size]
        return self.rng.permutation(np.concatenate([first, more]))

    def _ask(self, rows: Rows, shown: Iterable[Rows]) -> Array:
        self.asked += len(rows)
        demonstrations = [[(int(k), int(self.labels[k])) for k in some] for some in shown]
        return self.strong.judge("student", rows=rows, demonstrations=demonstrations)

    def _log_probs(self, logits_n: Array, labels_n: Rows) -> list[float]:
        return log_expit((2 * labels_n - 1) * (logits_n - self.middle)).tolist()


FINAL = re.compile(r"\\boxed\{([^{}]*)\}|####\s*(\S+)|[Aa]nswer(?:\s+is)?\s*:?\s*\$?([-\d.,/]*\d)")


def final_answer(text: str) -> str | None:
    """The last final answer that a worked solution states (boxed, after ####, or after "answer"),
    or None."""
    found = [next(g for g in m.groups() if g is not None) for m in FINAL.finditer(text)]
    return found[-1].strip().rstrip(".") if found else None


def contradictions(items: Inputs) -> Links:
    """Which labels cannot hold together: a pair and its swapped form have opposite labels, and two
    solutions of one question with different final answers are not both right (Wen et al., section
    2.2)."""
    links: Links = {}
    by_question: dict[str, list[int]] = {}
    for row, question in enumerate(items.questions):
        for other in by_question.setdefault(question, []):
            opposite = _swapped(items.choices[row], items.choices[other])
            if opposite or _exclude(items.choices[row], items.choices[other]):
                links.setdefault(row, []).append((other, opposite))
                links.setdefault(other, []).append((row, opposite))
        by_question[question].append(row)
    return links


def _swapped(choices: tuple[str, ...], others: tuple[str, ...]) -> bool:
    return len(choices) == 2 and choices == others[::-1]


def _exclude(choices: tuple[str, ...], others: tuple[str, ...]) -> bool:
    answers = {final_answer(c[0]) for c in (choices, others)}
    return len(choices) == 1 and None not in answers and len(answers) == 2
