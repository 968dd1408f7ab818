"""Set up a testbed: published items, states, weak labels and anchors of a problem. Each step is
cached. What researchers need comes first; the states and anchors of `final` may be added later.

A testbed belongs to the code that made it. If the code changes, a new testbed is made beside the
old one; a campaign that was started keeps its testbed.
"""

import contextlib
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import Misconfigured
from aarlab.core.files import open_whole, write_whole
from aarlab.core.hold import Hold, holder
from aarlab.core.label_set import METERS, same_labels
from aarlab.core.layout import PublicFolder, TestbedFolder
from aarlab.core.own_code import DIGITS, CodeRecord, code_of, this_build
from aarlab.core.progress_callback import Progress
from aarlab.core.records import SPLITS, AnyItem, SplitName
from aarlab.core.settings import Home
from aarlab.problems import PROBLEMS
from aarlab.problems.problem import Problem
from aarlab.problems.publish import PUBLISHED_SPLITS, publish, publish_groups, read_private_items
from aarlab.problems.secret_seed import secret_seed
from aarlab.testbeds.anchors import Labelled
from aarlab.testbeds.frozen_labels import by_heads, states_of
from aarlab.testbeds.student import RawFeatures, Student, ToRead
from aarlab.testbeds.task_data import same_states, write_states
from aarlab.testbeds.testbed import Testbed

FIRST: tuple[SplitName, ...] = ("teacher", "student", "feedback")  # what researchers need
REGISTRIES = ("aarlab.problems",)  # imports every problem, although a testbed depends on one


def prepare(
    problem: str,
    data_seed: int,
    *,
    home: Home,
    student: Student,
    progress: Progress,
    in_secret: bool = False,
    begun: str | None = None,
    whole: bool = True,
) -> Testbed:
    """Set up a problem, or return the testbed that the current code already made.

    `in_secret`: a generated problem is drawn by the data seed together with a secret of this home,
    so that a person who has the generator's code cannot generate the answers again. `begun`: the
    folder's name of the testbed that a campaign was started on; it is used whichever code made it.
    Without `whole` it may lack the states and anchors of `final`, if the student is frozen: a later
    call adds them.

    Raises:
        Misconfigured, Transient: see the problem's `build` and the student's `read`; or `final`
            cannot be added by this code.
    """
    chosen = PROBLEMS[problem]
    secret = in_secret and chosen.rebuildable
    name = f"{chosen.name}-v{chosen.version}-{student.name}-seed{data_seed}"
    name += "-secret" if secret else ""
    code = code_for(problem, student)
    first = Testbed(home.problems / name, from_cache=True)
    found = _found(first, code, begun)
    if not (found.whole or (found.begun and not whole)):
        with _alone(found, progress):  # another process may have set it up meanwhile
            if not found.begun and found.folder != first.folder:
                progress(f"testbed made again, {code.since(first.code)}", 0, 1)
            drawn_by = secret_seed(home, problem, data_seed) if secret else data_seed
            set_up = SetUp(chosen, student, found, drawn_by, code, progress)
            reading = None if found.begun else set_up.first(home.cache, data_seed, first)
            if whole and not found.whole:
                set_up.rest(reading)
        return Testbed(found.folder, from_cache=False)
    _refuse_other_models(found, student)
    if not found.groups.exists():  # set up before items were counted in groups
        publish_groups(read_private_items(found.folder), found.folder)
    return found


@contextlib.contextmanager
def _alone(bed: Testbed, progress: Progress) -> Iterator[None]:
    """While the context is open no other process sets this testbed up."""
    if other := holder(bed.set_up_lock):
        progress(f"waits for process {other}, which sets this testbed up", 0, 1)
    with Hold(bed.set_up_lock, lambda other: f"Process {other} is busy.", wait_s=math.inf):
        yield


@dataclass(frozen=True)
class SetUp:
    """Sets up one testbed in two steps: first what researchers need, then the rest."""

    problem: Problem
    student: Student
    bed: Testbed
    drawn_by: int  # the data seed, or the secret one
    code: CodeRecord  # the present one
    progress: Progress

    def first(self, cache: Path, data_seed: int, of_name: Testbed) -> RawFeatures:
        """Everything but what needs a reading of `final`. `of_name`: the first testbed of this
        name."""
        self.progress("items", 0, 1)
        items, bed, student = self.problem.build(cache, self.drawn_by), self.bed, self.student
        publish(self.problem, items, bed.folder, data_seed=data_seed, student=student.description)
        some = [i for i in items if i.split in self.splits]
        reading = self._read(some, items, self.progress)
        self.progress("weak labels and anchors", 0, 1)
        labelled = (
            by_heads(some, reading, ("feedback",))
            if student.label is None
            else student.label(items, self.progress)
        )
        for split, states in states_of(some, reading).items():
            write_states(bed.folder / PUBLISHED_SPLITS[split], split, states)
        np.save(PublicFolder(bed.public).probs("weak"), labelled.weak_probs_TN)
        np.save(PublicFolder(bed.public).probs("critic"), labelled.critic_probs_TN)
        _write_anchors(bed, _anchors(some, labelled))
        if student.published:
            PublicFolder(bed.public).strong.write_text(json.dumps(student.published))
        self.progress("weak labels and anchors", 1, 1)
        facts = {
            "features": reading.fingerprint,
            "items": _digest(items),
            "student": student.name,
            "models": student.identity(),
        }
        _share_meters(of_name, bed.folder)
        bed.built_by.write_text(this_build().model_dump_json())
        self.code.require_unchanged()
        facts |= {"labels": _of_labels(bed.folder), "code": self.code.model_dump()}
        write_whole(bed.part_ready, json.dumps(facts))
        return reading

    def rest(self, reading: RawFeatures | None) -> None:
        """The states and anchors of `final`. `reading`: that of the first step; None where another
        process did that.

        Raises:
            Misconfigured: this code or these models read the other items differently.
        """
        bed, items = self.bed, read_private_items(self.bed.folder)
        facts = bed.facts
        _refuse_other_models(bed, self.student)
        some = [i for i in items if i.split in self.splits]
        final = [i for i in items if i.split not in self.splits]
        if final:
            if reading is None:
                reading = self._read(some, items, self.progress)
            reading = reading.before(self.read_final(items))
            facts["features"] = reading.fingerprint
            self._add([*some, *final], reading)
        self.code.require_unchanged()
        if self.code != bed.code:
            facts["final_code"] = self.code.model_dump()
        facts["labels"] = _of_labels(bed.folder)
        write_whole(bed.ready, json.dumps(facts))

    def read_final(self, items: Sequence[AnyItem]) -> RawFeatures:
        """What the student reads of the `final` ones of all items."""

        def of_final(what: str, done: int, of: int) -> None:
            self.progress(f"final items, {what}", done, of)

        final = [i for i in items if i.split not in self.splits]
        return self._read(final, items, of_final)

    def _read(
        self, some: Sequence[AnyItem], items: Sequence[AnyItem], progress: Progress
    ) -> RawFeatures:
        return self.student.read(ToRead(self.problem, some, items, self.drawn_by, progress))

    @property
    def splits(self) -> tuple[SplitName, ...]:
        """Those of the first step; all where the models are fine-tuned, which is done once for
        all."""
        return FIRST if self.student.label is None else SPLITS

    def _add(self, items: Sequence[AnyItem], reading: RawFeatures) -> None:
        self.progress("final items, anchors", 0, 1)
        labelled, public = by_heads(items, reading, ("final",)), PublicFolder(self.bed.public)
        states = states_of(items, reading)
        for split in ("student", "feedback"):
            if split in states and not same_states(public.root, split, states[split]):
                self._refuse(split)
        if not np.array_equal(np.load(public.probs("weak")), labelled.weak_probs_TN):
            self._refuse("student")
        write_states(self.bed.folder / PUBLISHED_SPLITS["final"], "final", states["final"])
        with np.load(self.bed.anchors) as stored:
            anchors = {name: stored[name] for name in stored.files}
        _write_anchors(self.bed, anchors | _anchors(items, labelled))
        self.progress("final items, anchors", 1, 1)

    def _refuse(self, split: SplitName) -> NoReturn:
        why = self.code.since(self.bed.code)
        raise Misconfigured(
            f"The `{split}` items of {self.bed.folder.name} are read differently than when the "
            f"campaign began ({why or 'by the same code, on a machine that rounds differently'}), "
            f"so that its `final` items cannot be added. Use {self.bed.build} on the machine of "
            "then to finish the campaign, or start a new one under another name."
        )


def code_for(problem: str, student: Student) -> CodeRecord:
    """The code that decides a testbed: this module, the problem's module and the student's. A
    problem of an operator's own file has the file's digest in its version."""
    built_by = PROBLEMS[problem].build.__module__
    ours = built_by if built_by.partition(".")[0] == __name__.partition(".")[0] else __name__
    return code_of(__name__, ours, student.module, alone=REGISTRIES)


def _found(first: Testbed, code: CodeRecord, begun: str | None) -> Testbed:
    """The testbed that a campaign uses, also one of an earlier version of the problem, or the one
    that this code makes; it may not exist yet."""
    if begun is not None and (used := Testbed(first.folder.with_name(begun), True)).begun:
        return used
    if not first.begun or first.code == code:
        return first
    return Testbed(
        first.folder.with_name(f"{first.folder.name}-code{code.digest[:DIGITS]}"), from_cache=True
    )


def _of_any_code(first: Testbed) -> list[Testbed]:
    """All existing testbeds of this name, each made by different code."""
    folders = [first.folder, *sorted(first.folder.parent.glob(f"{first.folder.name}-code*"))]
    return [bed for folder in folders if (bed := Testbed(folder, from_cache=True)).begun]


def _share_meters(first: Testbed, folder: Path) -> None:
    """If different code made another testbed with the same labels, let both use one meter."""
    for bed in _of_any_code(first):
        if same_labels(bed.folder, folder) and not (bed.private / METERS[0]).is_symlink():
            for name in METERS:
                (bed.private / name).mkdir(exist_ok=True)
                link = TestbedFolder(folder).private / name
                link.unlink(missing_ok=True)
                link.symlink_to(Path("../..") / (bed.private / name).relative_to(bed.folder.parent))
            return


def _refuse_other_models(bed: Testbed, student: Student) -> None:
    found, now = bed.facts.get("models", ""), student.identity()
    if found != now:
        raise Misconfigured(
            f"{bed.folder.name} was set up with different model files (recorded {found}, "
            f"now {now}). Restore the old files, or give the new models another name in the "
            "preset."
        )


def _of_labels(folder: Path) -> str:
    """Weak labels and anchors, as a hash."""
    made = TestbedFolder(folder)
    public = PublicFolder(made.public)
    paths = (public.probs("weak"), public.probs("critic"), made.anchors)
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def _digest(items: Sequence[AnyItem]) -> str:
    return hashlib.sha256("".join(i.model_dump_json() for i in items).encode()).hexdigest()


def _anchors(items: Sequence[AnyItem], labelled: Labelled) -> dict[str, NDArray[np.bool_]]:
    """The anchors by their names on disk, in the order of sorted ids, as grades are."""
    anchors = {}
    for split in labelled.weak_correct:
        order = np.argsort(np.array([i.id for i in items if i.split == split]))
        anchors[f"{split}_weak_SM"] = labelled.weak_correct[split][:, order]
        anchors[f"{split}_ceiling_SM"] = labelled.ceiling_correct[split][:, order]
    return anchors


def _write_anchors(bed: Testbed, anchors: Mapping[str, NDArray[np.bool_]]) -> None:
    with open_whole(bed.anchors) as file:
        np.savez(file, **anchors)
