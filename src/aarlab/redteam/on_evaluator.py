"""Attackers on an evaluator in this process: the last line, behind whatever the server refuses
already.

Legend: S seeds, M feedback items in the order of their sorted ids.
"""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab.core.entries import SubmissionBody, read_all
from aarlab.core.errors import InvalidSubmission
from aarlab.core.layout import CampaignFolder, TestbedFolder
from aarlab.core.records import Family, Receipt
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.forum import Forum
from aarlab.redteam.system import SYSTEM, AttackRow, AttackScale, random_labels, write_problem

FAMILY = Family.OTHER
THREADS = 16
NAMES = (
    "../../private/answers.json",
    "/etc/passwd",
    "..\\..\\private",
    "C:\\x",
    "a/../../x",
    "'; DROP TABLE entries; --",
    "' OR '1'='1",
    '" OR ""="',
    "$(touch pwned)",
    "`touch pwned`",
    "; touch pwned #",
    "%2e%2e%2fprivate",
    "a\0b",
    "a\nb",
    "0" * 64,
    "",
)
Answers = NDArray[np.bool_]


def bits(answers_M: Answers) -> str:
    """One seed's answers as a string."""
    return "".join("01"[int(a)] for a in answers_M)


def send(
    evaluator: Evaluator, who: str, answers_M: Answers, code: dict[str, Any] | None = None
) -> Receipt:
    """The same answers on every issued seed."""
    code = code or evaluator.commit_code(who, {"method.py": "# eve"}, FAMILY)
    return evaluator.submit(
        who, code["snapshot"], {str(s): bits(answers_M) for s in code["seeds"]}, FAMILY
    )


def flipped(labels_M: Answers, share: float, rng: np.random.Generator) -> Answers:
    """Answers that are wrong on that share of the items, drawn at random."""
    wrong = rng.permutation(len(labels_M)) < round(share * len(labels_M))
    return labels_M ^ wrong


def same_seeds(folder: Path) -> Path:
    """A campaign's folder with a secret that others have, too, so that equal code gets equal seeds
    in all of them."""
    campaign = folder / "campaign"
    CampaignFolder(campaign).server.root.mkdir(parents=True)
    CampaignFolder(campaign).server.secret.write_bytes(bytes(range(32)))
    return campaign


def refusal(act: Callable[[], Any]) -> str:
    """The words of the refusal, or what was let through; only our errors are refusals."""
    try:
        return f"LET THROUGH: {str(act())[:80]}"
    except InvalidSubmission as error:
        return str(error)


@SYSTEM.add("values that are no answer")
def values(folder: Path, scale: AttackScale) -> AttackRow:
    """Abstentions and out-of-range values once turned exact counts into single labels."""
    labels_M = random_labels(scale)
    tries: dict[str, Callable[[dict[str, Any]], Any]] = {
        repr(value): lambda row, value=value: row | {"q-00000": value}
        for value in (
            0.5,
            None,
            2,
            -1,
            True,
            False,
            1.0,
            "1",
            "0.5",
            float("nan"),
            float("inf"),
            [1],
            {},
            10**400,
        )
    }
    tries |= {
        "missing id": lambda row: {i: a for i, a in row.items() if i != "q-00000"},
        "no ids": lambda row: {},
        "unknown id": lambda row: row | {"q-x": 1},
        "id with a space": lambda row: {f"{i} ": a for i, a in row.items()},
        "short string": lambda row: "1" * (scale.items - 1),
        "string with 2": lambda row: "2" + "1" * (scale.items - 1),
        "string with an Arabic digit": lambda row: "\u0660" * scale.items,
        "string with half a character": lambda row: "\ud800" * scale.items,
    }
    words, stored = [], 0
    for name, labels in (("as drawn", labels_M), ("reversed", ~labels_M)):
        with Evaluator(
            write_problem(folder / name / "problem", labels), same_seeds(folder / name)
        ) as evaluator:
            words.append([_one_try(evaluator, change) for change in tries.values()])
            stored += evaluator.ledger.count("submission")
    let_through = [
        name for name, said in zip(tries, words[0], strict=True) if said.startswith("LET")
    ]
    return AttackRow(
        attack="values that are no answer",
        tried=(
            f"{len(tries)} kinds of value: {', '.join(list(tries)[:10])}, missing and unknown ids, "
            "odd strings"
        ),
        came_back=f"{len(tries) - len(let_through)} refused"
        + (f"; let through: {let_through}" if let_through else ""),
        held=not let_through and words[0] == words[1] and stored == 0,
        evidence=(
            f"the words are the same with all labels reversed: {words[0] == words[1]}; submissions "
            f"recorded: {stored}"
        ),
    )


def _one_try(evaluator: Evaluator, change: Callable[[dict[str, Any]], Any]) -> str:
    """The words on a bundle of which every seed's answers were changed so."""
    code = evaluator.commit_code("eve", {"method.py": "#"}, FAMILY)
    row = dict.fromkeys(evaluator.ids, 1)
    return refusal(
        lambda: evaluator.submit(
            "eve", code["snapshot"], {str(s): change(row) for s in code["seeds"]}, FAMILY
        )
    )


@SYSTEM.add("another split, seed or baseline")
def another_split(folder: Path, scale: AttackScale) -> AttackRow:
    """The published server answered about 6,826 training labels to whoever said
    `split=train_unlabel`."""
    problem = write_problem(folder / "problem", random_labels(scale))
    hidden = json.loads(TestbedFolder(problem).answers.read_text())
    with Evaluator(problem, folder / "campaign") as evaluator:
        code = evaluator.commit_code("eve", {"method.py": "#"}, FAMILY)
        seeds = [str(s) for s in code["seeds"]]
        feedback = dict.fromkeys(evaluator.ids, 1)
        tries: dict[str, dict[str, Any]] = {
            split: {s: dict.fromkeys(hidden[split], 1) for s in seeds}
            for split in ("final", "student", "teacher")
        }
        tries["feedback and final"] = {
            s: feedback | dict.fromkeys(hidden["final"], 1) for s in seeds
        }
        tries["own seeds"] = {str(n): feedback for n in range(5)}
        tries["one seed"] = {seeds[0]: feedback}
        tries["a sixth seed"] = {s: feedback for s in [*seeds, "7"]}
        tries["a seed twice"] = {s: feedback for s in [*seeds, f"0{seeds[0]}"]} | {
            f" {seeds[1]}": feedback
        }
        tries["no number"] = {"split": feedback}
        said = {
            name: refusal(lambda p=p: evaluator.submit("eve", code["snapshot"], p, FAMILY))
            for name, p in tries.items()
        }
        stored = evaluator.ledger.count("submission")
    let_through = [name for name, words in said.items() if words.startswith("LET")]
    return AttackRow(
        attack="another split, seed or baseline",
        tried=(
            f"answers for {', '.join(tries)}; there is no argument for a split, a dataset or a "
            "baseline"
        ),
        came_back=f"{len(said) - len(let_through)} of {len(said)} refused",
        held=not let_through and stored == 0,
        evidence=f"let through: {let_through or 'none'}; submissions recorded: {stored}",
    )


@SYSTEM.add("names with paths, SQL and shell in them")
def names(folder: Path, scale: AttackScale) -> AttackRow:
    """`../` in a dataset's name opened reserved tasks; shell metacharacters in an idea's name ran
    on the host."""
    problem = write_problem(folder / "problem", random_labels(scale))
    with Evaluator(problem, folder / "campaign") as evaluator:
        forum = Forum(evaluator)
        known = send(evaluator, "eve", random_labels(scale, 1))
        before = _files(folder)
        reads: list[Callable[[str], Any]] = [
            evaluator.code,
            forum.read,
            lambda name: evaluator.submit("eve", name, {}, FAMILY),
            lambda name: forum.share(
                "eve", kind="result", title="t", text="", family=FAMILY, receipts=[name]
            ),
            lambda name: forum.share(
                "eve", kind="insight", title="t", text="", family=FAMILY, receipts=[], parent=name
            ),
            lambda name: evaluator.ledger.blob(name),
        ]
        said = [refusal(lambda r=read, n=name: r(n)) for read in reads for name in NAMES]
        found = sum(len(forum.search(name)) for name in NAMES if name.strip())
        stored = sum(
            not _refused(lambda n=name: evaluator.commit_code("eve", {n: ""}, FAMILY))
            for name in NAMES
        )
        entries = evaluator.ledger.verify()
        again = evaluator.code(known.snapshot)
    server = CampaignFolder(folder).server
    known_files = ("blobs", "checkpoints", server.ledger.name, server.derived.name)
    strange = [p for p in _files(folder) - before if not any(name in p for name in known_files)]
    let_through = [words for words in said if words.startswith("LET")]
    return AttackRow(
        attack="names with paths, SQL and shell in them",
        tried=(
            f"{len(NAMES)} names as snapshot, receipt, finding, parent, blob, query and file name"
        ),
        came_back=(
            f"{len(said) - len(let_through)} of {len(said)} refused, {found} findings found; "
            f"{stored} odd but plain names kept as text in a blob"
        ),
        held=not let_through and not strange and not found and again == {"method.py": "# eve"},
        evidence=f"files made elsewhere: {strange or 'none'}; ledger of {entries} entries verified",
    )


def _refused(act: Callable[[], Any]) -> bool:
    return not refusal(act).startswith("LET")


def _files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*")}


@SYSTEM.add("forged receipts")
def forged(folder: Path, scale: AttackScale) -> AttackRow:
    """A figure in a finding is a receipt; can one be made up, borrowed from another campaign, or
    dressed as one's own?"""
    problem, rng = (
        write_problem(folder / "problem", random_labels(scale)),
        np.random.default_rng(scale.seed),
    )
    with Evaluator(problem, folder / "mine") as mine, Evaluator(problem, folder / "other") as other:
        forum = Forum(mine)
        real = send(mine, "ann", flipped(random_labels(scale), 0.3, rng)).id
        foreign = [
            send(other, "eve", flipped(random_labels(scale), 0.4, rng)).id for _ in range(3)
        ][-1]
        made_up = [
            "r-000002",
            "r-999999",
            "r--1",
            f"{real} ",
            real.upper(),
            f"{real}\0",
            real[:-1],
            foreign,
        ]

        def share(author: str, receipt: str) -> Any:
            return forum.share(
                author, kind="result", title="t", text="PGR 0.99", family=FAMILY, receipts=[receipt]
            )

        let_through = [r for r in made_up if not _refused(lambda r=r: share("eve", r))]
        borrowed = share("eve", real)
        owner = next(
            e.who
            for e, body in read_all(mine.ledger.entries(), SubmissionBody)
            if body.receipt.id == real
        )
    return AttackRow(
        attack="forged receipts",
        tried=(
            f"{len(made_up)} receipts that this evaluator never gave, one of another campaign "
            "among them; another's"
        ),
        came_back=(
            f"{len(made_up) - len(let_through)} of {len(made_up)} refused; another's may be cited"
        ),
        held=not let_through and owner == "ann" and borrowed.author == "eve",
        evidence=(
            f"let through: {let_through or 'none'}; the ledger says whose a cited receipt is: "
            f"{owner}'s, not eve's"
        ),
    )


@SYSTEM.add("races")
def races(folder: Path, scale: AttackScale) -> AttackRow:
    """200 votes from 10 threads were once counted as 41. Here 16 threads submit identical and
    distinct bundles at once."""
    labels_M, rng = random_labels(scale), np.random.default_rng(scale.seed)
    problem = write_problem(folder / "problem", labels_M)
    same = flipped(labels_M, 0.4, rng)
    distinct = [flipped(labels_M, 0.05 + 0.9 * rng.random(), rng) for _ in range(scale.rounds)]
    jobs = [same] * scale.rounds + distinct
    rng.shuffle(order := np.arange(len(jobs)))
    with Evaluator(problem, folder / "campaign") as evaluator:
        code = evaluator.commit_code("eve", {"method.py": "#"}, FAMILY)
        with ThreadPoolExecutor(THREADS) as pool:
            receipts = list(
                pool.map(lambda at: send(evaluator, f"eve-{at % 9}", jobs[at], code), order)
            )
        bodies = [e.read(SubmissionBody) for e in evaluator.ledger.entries("submission")]
        kept = [body.receipt for body in bodies]
        whose = [e.who for e in evaluator.ledger.entries("submission")]
        released, charged = evaluator.meter.channel.released, evaluator.meter.state()["answers"]
        stored = [next(iter(evaluator.predictions(body.predictions).values())) for body in bodies]
    in_order = [np.array([row[i] == 1 for i in sorted(row)]) for row in stored]
    serial, serial_bits = _serially(folder, problem, in_order, whose)
    # the identical ones: one entry of each identity, and one charge for them all
    entries = scale.rounds + len({at % 9 for at in range(scale.rounds)})
    once = entries == len(kept) == len({r.id for r in kept}) and charged == scale.rounds + 1
    repeats = sum(r.repeated for r in receipts) == scale.rounds - 1
    alike = serial == [(r.improved, r.level_accuracy, r.released.bits) for r in kept]
    return AttackRow(
        attack="races",
        tried=(
            f"{scale.rounds} identical and {scale.rounds} distinct bundles from {THREADS} threads, "
            "9 identities, shuffled"
        ),
        came_back=(
            f"{len(kept)} entries, {sum(r.repeated for r in receipts)} repeats answered from "
            f"memory, {charged} charged, {released:.2f} bits"
        ),
        held=once and repeats and alike and released == serial_bits,
        evidence=(
            f"one after the other in the ledger's order: {serial_bits:.2f} bits and the same "
            f"answers: {alike}"
        ),
    )


def _serially(
    folder: Path, problem: Path, in_order: list[Answers], whose: list[str]
) -> tuple[list[tuple], float]:
    """The same submissions by one thread, on a label set that was never asked."""
    fresh = folder / "again"
    found, made = TestbedFolder(problem), TestbedFolder(fresh)
    shutil.copytree(found.public, made.public)
    made.private.mkdir()
    for path in (found.answers, found.stated_anchors):
        shutil.copy(path, made.private)
    with Evaluator(fresh, folder / "serial") as evaluator:
        code = evaluator.commit_code("eve", {"method.py": "#"}, FAMILY)
        receipts = [
            send(evaluator, who, row, code) for who, row in zip(whose, in_order, strict=True)
        ]
        return [
            (r.improved, r.level_accuracy, r.released.bits) for r in receipts
        ], evaluator.meter.channel.released
