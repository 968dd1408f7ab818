"""Nine honest researchers on a real testbed: the shipped methods and recipes around them, really
run on seeds of their own.

Legend: S seeds, M feedback items in the order of their sorted ids.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aarlab.core.records import Family
from aarlab.evaluation.detectors import Context, Submitted, read_context
from aarlab.evaluation.scoring.hidden_labels import load_answers
from aarlab.methods.library import METHODS
from aarlab.researchers.recipe import OPTIONS, PLAIN, Recipe, mutate, source_of
from aarlab.testbeds.task_data import load_task
from aarlab.testbeds.testbed import Testbed
from experiments.detectors.crowd import SEEDS, snapshot_of

REFERENCE = (
    "from aarlab.methods.library import METHODS\n\n\ndef run(task, seed):\n    return "
    "METHODS[{!r}].run(task, seed)\n"
)
RESEARCHERS = 9


@dataclass
class RealFleet:
    """A third of what each tries are shipped methods, the others small changes of its last recipe,
    layers and L2 among them. Code runs in this process: it is ours."""

    bed: Testbed
    seed: int
    code: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._names = sorted(METHODS)
        self._order = np.argsort(
            np.array(load_task(self.bed.public, self.bed.public, "feedback", 0).test.ids)
        )

    def context(self) -> Context:
        """What detectors know of it."""
        ids = sorted(load_answers(self.bed.folder)["feedback"])
        return read_context(self.bed.public, ids, None, self.code.__getitem__)

    def submissions(self, each: int) -> Iterator[Submitted]:
        """So many of each researcher, who take turns; a repeat of known answers is left out, as the
        evaluator does."""
        last: dict[str, Recipe] = {}
        seen: set[bytes] = set()
        for number in range(each * RESEARCHERS):
            who = f"ann-{number % RESEARCHERS}"
            source = self._source(who, last)
            snapshot = snapshot_of(source)
            if snapshot in self.code:
                continue
            self.code[snapshot] = {"method.py": source}
            answers_SM = self._answers(source)
            if (key := np.packbits(answers_SM).tobytes()) not in seen:
                seen.add(key)
                yield Submitted(who, f"r-{number:06d}", snapshot, answers_SM)

    def _source(self, who: str, last: dict[str, Recipe]) -> str:
        if self._random.random() < 1 / 3:
            return REFERENCE.format(self._random.choice(self._names)) + f"# {who}\n"
        recipe = last.get(who, PLAIN)
        dimension = self._random.choice(["layers", "l2", *OPTIONS])
        last[who] = mutate(
            recipe,
            {dimension: self._random.choice(sorted(OPTIONS[dimension]))},
            self._random,
            extra=0,
        )
        return source_of(last[who], family=Family.OTHER, author=who)

    def _answers(self, source: str) -> np.ndarray:
        names: dict[str, Any] = {}
        exec(compile(source, "method.py", "exec"), names)
        rows = []
        for _ in range(SEEDS):
            seed = self._random.randrange(2**31)
            rows.append(
                names["run"](load_task(self.bed.public, self.bed.public, "feedback", seed), seed)[
                    self._order
                ]
                > 0.5
            )
        return np.stack(rows)
