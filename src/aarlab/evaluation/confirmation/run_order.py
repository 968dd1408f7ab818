"""What the gate orders to be run, and what came of it: the interface of the gate and of whoever
runs code for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from aarlab.core.answers import Answers
from aarlab.core.errors import Misconfigured
from aarlab.core.layout import PublicFolder, TestbedFolder
from aarlab.core.printable import printable
from aarlab.core.records import Failure, SplitName
from aarlab.evaluation.confirmation.confirmation_record import COMPARED, Kind
from aarlab.evaluation.issued_seeds import SEEDS

# Groups of SEEDS seeds on what is compared with tuned naive, where the student is frozen and a seed
# takes a fraction of a second: methods vary together with the teacher that a seed draws, and five
# seeds cannot tell a gain of 0.02 to 0.04 accuracy from that (LOG.md). Nobody sets it, so that
# nobody can choose it by what comes out.
FROZEN_GROUPS = 3


@dataclass(frozen=True)
class Target:
    """Something that a snapshot is re-run on. `folder` is a testbed's: its anchors and labels are
    graded against.

    feedback, final: the campaign's own. fresh: another draw of its data. transfer: another problem.
    pair: its data, another teacher and student. teacherless: weak labels dealt to other items.
    ablated: and the student replaced by noise.
    """

    name: str
    kind: Kind
    folder: Path
    split: SplitName = "final"

    @property
    def compared(self) -> bool:
        """Whether tuned naive is run beside, on the same seeds."""
        return self.kind in COMPARED

    @property
    def seeds(self) -> int:
        """On how many seeds a snapshot is run there."""
        tuned = PublicFolder(TestbedFolder(self.folder).public).strong.exists()
        return SEEDS * FROZEN_GROUPS if self.compared and not tuned else SEEDS


@dataclass(frozen=True)
class Run:
    """A target, and the seeds on which a snapshot is to be run there."""

    target: Target
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class RunOrder:
    """A snapshot, and all that it is to be run on. `token` names the confirmation to
    `Confirmations.finish`."""

    token: str
    snapshot: str
    files: Mapping[str, str]
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class RunAnswers:
    """The answers of a snapshot and, where it is compared, of tuned naive."""

    method: Answers
    naive: Answers | None = None


class _Said:
    """Why there is no score. Code wrote parts of the words: what cannot be printed goes."""

    words: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", printable(self.words))


@dataclass(frozen=True)
class CodeFailed(_Said):
    """The code itself failed: that is a result."""

    failure: Failure
    words: str


@dataclass(frozen=True)
class NotRun(_Said):
    """The machine ended the run: that is no result, and it is never graded."""

    words: str


Ran = RunAnswers | CodeFailed
Outcome = Ran | NotRun


@dataclass(frozen=True)
class NoVerdict:
    """A confirmation that the machine ended: nobody is accused, nothing is charged, and it can be
    run again."""

    token: str
    snapshot: str
    researcher: str
    not_run: Mapping[str, str]  # by target, why
    verdict: ClassVar[None] = None


def targets_of(own: Path, others: Sequence[Target]) -> tuple[Target, ...]:
    """A campaign's own testbed, on feedback again and on `final`, and the others.

    Raises:
        Misconfigured: a target has the name of another, or stands in for the campaign's own.
    """
    found = (
        Target("feedback", "feedback", own, "feedback"),
        Target("final", "final", own),
        *others,
    )
    if len({t.name for t in found}) < len(found) or any(
        t.kind in {"feedback", "final"} for t in others
    ):
        names = [f"{t.name} ({t.kind})" for t in others]
        raise Misconfigured(
            f"Targets {names}: two have one name, or one stands in for the campaign's feedback or "
            "final."
        )
    for target in others:
        if target.kind == "fresh" and target.folder.resolve() == own.resolve():
            raise Misconfigured(
                f"The fresh draw {target.folder} is the campaign's own data. Take another data "
                "seed for it."
            )
    return found
