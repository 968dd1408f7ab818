"""Attackers on an evaluator in this process: the last line, behind whatever the server refuses already.

Legend: S seeds, M feedback items in the order of their sorted ids.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

from aarlab.core.errors import InvalidSubmission
from aarlab.core.records import Family, Receipt
from aarlab.evaluation.evaluator import Evaluator
from aarlab.forum.forum import Forum
from aarlab.redteam.system import SYSTEM, Row, Scale, random_labels, write_problem

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


def send(evaluator: Evaluator, who: str, answers_M: Answers, code: dict[str, Any] | None = None) -> Receipt:
    """The same answers on every issued seed."""
    code = code or evaluator.commit_code(who, {"method.py": "# eve"}, FAMILY)
    return evaluator.submit(who, code["snapshot"], {str(s): bits(answers_M) for s in code["seeds"]}, FAMILY)


def flipped(labels_M: Answers, share: float, rng: np.random.Generator) -> Answers:
    """Answers that are wrong on that share of the items, drawn at random."""
    wrong = rng.permutation(len(labels_M)) < round(share * len(labels_M))
    return labels_M ^ wrong


def same_seeds(folder: Path) -> Path:
    """A campaign's folder with a secret that others have, too, so that equal code gets equal seeds in all of them."""
    campaign = folder / "campaign"
    (campaign / "server").mkdir(parents=True)
    (campaign / "server" / "secret").write_bytes(bytes(range(32)))
    return campaign


def refusal(act: Callable[[], Any]) -> str:
    """The words of the refusal, or what was let through; only our errors are refusals."""
    try:
        return f"LET THROUGH: {str(act())[:80]}"
    except InvalidSubmission as error:
        return str(error)


@SYSTEM.add("values that are no answer")
def values(folder: Path, scale: Scale) -> Row:
    """Abstentions and out-of-range values once turned exact counts into single labels."""
    labels_M = random_labels(scale)
    tries: dict[str, Callable[[dict[str, Any]], Any]] = {
        repr(value): lambda row, value=value: row | {"q-00000": value}
        for value in (0.5, None, 2, -1, True, False, 1.0, "1", "0.5", float("nan"), float("inf"), [1], {}, 10**400)
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
        with Evaluator(write_problem(folder / name / "problem", labels), same_seeds(folder / name)) as evaluator:
            words.append([_one_try(evaluator, change) for change in tries.values()])
            stored += evaluator.ledger.count("submission")
    let_through = [name for name, said in zip(tries, words[0], strict=True) if said.startswith("LET")]
    return Row(
        attack="values that are no answer",
        tried=f"{len(tries)} kinds of value: {', '.join(list(tries)[:10])}, missing and unknown ids, odd strings",
        came_back=f"{len(tries) - len(let_through)} refused" + (f"; let through: {let_through}" if let_through else ""),
        held=not let_through and words[0] == words[1] and stored == 0,
        evidence=f"the words are the same with all labels reversed: {words[0] == words[1]}; submissions recorded: {stored}",
    )


def _one_try(evaluator: Evaluator, change: Callable[[dict[str, Any]], Any]) -> str:
    """The words on a bundle of which every seed's answers were changed so."""
    code = evaluator.commit_code("eve", {"method.py": "#"}, FAMILY)
    row = dict.fromkeys(evaluator.ids, 1)
    return refusal(lambda: evaluator.submit("eve", code["snapshot"], {str(s): change(row) for s in code["seeds"]}, FAMILY))


@SYSTEM.add("another split, seed or baseline")
def another_split(folder: Path, scale: Scale) -> Row:
    """The published server answered about 6,826 training labels to whoever said `split=train_unlabel`."""
    problem = write_problem(folder / "problem", random_labels(scale))
    hidden = json.loads((problem / "private" / "answers.json").read_text())
    with Evaluator(problem, folder / "campaign") as evaluator:
        code = evaluator.commit_code("eve", {"method.py": "#"}, FAMILY)
        seeds = [str(s) for s in code["seeds"]]
        feedback = dict.fromkeys(evaluator.ids, 1)
        tries: dict[str, dict[str, Any]] = {
            split: {s: dict.fromkeys(hidden[split], 1) for s in seeds} for split in ("final", "student", "teacher")
        }
        tries["feedback and final"] = {s: feedback | dict.fromkeys(hidden["final"], 1) for s in seeds}
        tries["own seeds"] = {str(n): feedback for n in range(5)}
        tries["one seed"] = {seeds[0]: feedback}
        tries["a sixth seed"] = {s: feedback for s in [*seeds, "7"]}
        tries["a seed twice"] = {s: feedback for s in [*seeds, f"0{seeds[0]}"]} | {f" {seeds[1]}": feedback}
        tries["no number"] = {"split": feedback}
        said = {name: refusal(lambda p=p: evaluator.submit("eve", code["snapshot"], p, FAMILY)) for name, p in tries.items()}
        stored = evaluator.ledger.count("submission")
    let_through = [name for name, words in said.items() if words.startswith("LET")]
    return Row(
        attack="another split, seed or baseline",
        tried=f"answers for {', '.join(tries)}; there is no argument for a split, a dataset or a baseline",
        came_back=f"{len(said) - len(let_through)} of {len(said)} refused",
        held=not let_through and stored == 0,
        evidence=f"let through: {let_through or 'none'}; submissions recorded: {stored}",
    )


@SYSTEM.add("names with paths, SQL and shell in them")
def names(folder: Path, scale: Scale) -> Row:
    """`../` in a dataset's name opened reserved tasks; shell metacharacters in an idea's name ran on the host."""
    problem = write_problem(folder / "problem", random_labels(scale))
    with Evaluator(problem, folder / "campaign") as evaluator:
        forum = Forum(evaluator)
        known = send(evaluator, "eve", random_labels(scale, 1))
        before = _files(folder)
        reads: list[Callable[[str], Any]] = [
            evaluator.code,
            forum.read,
            lambda name: evaluator.submit("eve", name, {}, FAMILY),
            lambda name: forum.share("eve", kind="result", title="t", text="", family=FAMILY, receipts=[name]),
            lambda name: forum.share("eve", kind="insight", title="t", text="", family=FAMILY, receipts=[], parent=name),
            lambda name: evaluator.ledger.blob(name),
        ]
        said = [refusal(lambda r=read, n=name: r(n)) for read in reads for name in NAMES]
        found = sum(len(forum.search(name)) for name in NAMES if name.strip())
        stored = sum(not _refused(lambda n=name: evaluator.commit_code("eve", {n: ""}, FAMILY)) for name in NAMES)
        entries = evaluator.ledger.verify()
        again = evaluator.code(known.snapshot)
    strange = [p for p in _files(folder) - before if "blobs" not in p and "ledger.sqlite" not in p and "checkpoints" not in p]
    let_through = [words for words in said if words.startswith("LET")]
    return Row(
        attack="names with paths, SQL and shell in them",
        tried=f"{len(NAMES)} names as snapshot, receipt, finding, parent, blob, query and file name",
        came_back=f"{len(said) - len(let_through)} of {len(said)} refused, {found} findings found; {stored} odd but plain "
        "names kept as text in a blob",
        held=not let_through and not strange and not found and again == {"method.py": "# eve"},
        evidence=f"files made elsewhere: {strange or 'none'}; ledger of {entries} entries verified",
    )


def _refused(act: Callable[[], Any]) -> bool:
    return not refusal(act).startswith("LET")


def _files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*")}


@SYSTEM.add("forged receipts")
def forged(folder: Path, scale: Scale) -> Row:
    """A figure in a finding is a receipt; can one be made up, borrowed from another campaign, or dressed as one's own?"""
    problem, rng = write_problem(folder / "problem", random_labels(scale)), np.random.default_rng(scale.seed)
    with Evaluator(problem, folder / "mine") as mine, Evaluator(problem, folder / "other") as other:
        forum = Forum(mine)
        real = send(mine, "ann", flipped(random_labels(scale), 0.3, rng)).id
        foreign = [send(other, "eve", flipped(random_labels(scale), 0.4, rng)).id for _ in range(3)][-1]
        made_up = ["r-000002", "r-999999", "r--1", f"{real} ", real.upper(), f"{real}\0", real[:-1], foreign]

        def share(author: str, receipt: str) -> Any:
            return forum.share(author, kind="result", title="t", text="PGR 0.99", family=FAMILY, receipts=[receipt])

        let_through = [r for r in made_up if not _refused(lambda r=r: share("eve", r))]
        borrowed = share("eve", real)
        owner = next(e.who for e in mine.ledger.entries("submission") if e.body["receipt"]["id"] == real)
    return Row(
        attack="forged receipts",
        tried=f"{len(made_up)} receipts that this evaluator never gave, one of another campaign among them; another's",
        came_back=f"{len(made_up) - len(let_through)} of {len(made_up)} refused; another's may be cited",
        held=not let_through and owner == "ann" and borrowed.author == "eve",
        evidence=f"let through: {let_through or 'none'}; the ledger says whose a cited receipt is: {owner}'s, not eve's",
    )


@SYSTEM.add("races")
def races(folder: Path, scale: Scale) -> Row:
    """200 votes from 10 threads were once counted as 41. Here 16 threads submit identical and distinct bundles at once."""
    labels_M, rng = random_labels(scale), np.random.default_rng(scale.seed)
    problem = write_problem(folder / "problem", labels_M)
    same = flipped(labels_M, 0.4, rng)
    distinct = [flipped(labels_M, 0.05 + 0.9 * rng.random(), rng) for _ in range(scale.rounds)]
    jobs = [same] * scale.rounds + distinct
    rng.shuffle(order := np.arange(len(jobs)))
    with Evaluator(problem, folder / "campaign") as evaluator:
        code = evaluator.commit_code("eve", {"method.py": "#"}, FAMILY)
        with ThreadPoolExecutor(THREADS) as pool:
            told = list(pool.map(lambda at: send(evaluator, f"eve-{at % 9}", jobs[at], code), order))
        kept = [e.body["receipt"] for e in evaluator.ledger.entries("submission")]
        whose = [e.who for e in evaluator.ledger.entries("submission")]
        released = evaluator.meter.channel.released
        stored = [
            next(iter(evaluator.predictions(e.body["predictions"]).values())) for e in evaluator.ledger.entries("submission")
        ]
    in_order = [np.array([row[i] == 1 for i in sorted(row)]) for row in stored]
    serial, serial_bits = _serially(folder, problem, in_order, whose)
    once = len(kept) == scale.rounds + 1 and len({r["id"] for r in kept}) == len(kept)
    repeats = sum(r.repeated for r in told) == scale.rounds - 1
    alike = serial == [(r["improved"], r["level_accuracy"], r["released"]["bits"]) for r in kept]
    return Row(
        attack="races",
        tried=f"{scale.rounds} identical and {scale.rounds} distinct bundles from {THREADS} threads, 9 identities, shuffled",
        came_back=f"{len(kept)} entries, {sum(r.repeated for r in told)} repeats answered from memory, {released:.2f} bits",
        held=once and repeats and alike and released == serial_bits,
        evidence=f"one after the other in the ledger's order: {serial_bits:.2f} bits and the same answers: {alike}",
    )


def _stored(evaluator: Evaluator, name: str) -> Answers:
    """The first seed's answers of a stored bundle."""
    row = next(iter(evaluator.predictions(name).values()))
    return np.array([row[i] == 1 for i in sorted(row)])


def _serially(folder: Path, problem: Path, in_order: list[Answers], whose: list[str]) -> tuple[list[tuple], float]:
    """The same submissions by one thread, on a label set that was never asked."""
    fresh = folder / "again"
    shutil.copytree(problem / "public", fresh / "public")
    (fresh / "private").mkdir()
    for name in ("answers.json", "ruler.json"):
        shutil.copy(problem / "private" / name, fresh / "private")
    with Evaluator(fresh, folder / "serial") as evaluator:
        code = evaluator.commit_code("eve", {"method.py": "#"}, FAMILY)
        told = [send(evaluator, who, row, code) for who, row in zip(whose, in_order, strict=True)]
        return [(r.improved, r.level_accuracy, r.released.bits) for r in told], evaluator.meter.channel.released


@SYSTEM.add("metadata")
def metadata(folder: Path, scale: Scale) -> Row:
    """The same submissions against two label sets that give the same told answers: every byte of every reply is compared.

    The second label set reverses pairs of labels of which the one improving bundle has one right and one wrong, so that its
    score is the same; the others are told nothing under either.
    """
    rng, labels_M = np.random.default_rng(scale.seed), random_labels(scale)
    good_M = flipped(labels_M, 0.1, rng)
    right, wrong = np.flatnonzero(good_M == labels_M), np.flatnonzero(good_M != labels_M)
    other_M = labels_M.copy()
    other_M[right[: len(wrong)]] ^= True
    other_M[wrong] ^= True
    rest = [flipped(labels_M, 0.5, rng) for _ in range(20)]
    replies = []
    for name, labels in (("one", labels_M), ("two", other_M)):
        problem = write_problem(folder / name / "problem", labels)
        with Evaluator(problem, same_seeds(folder / name)) as evaluator:
            replies.append(list(_replies(evaluator, [rest[0], good_M, *rest, good_M])))
    differ = sum(a != b for a, b in zip(*replies, strict=True))
    told = [json.loads(r)["improved"] for r in replies[0] if r.startswith("{")]
    moved = int((labels_M != other_M).sum())
    return Row(
        attack="metadata",
        tried=f"{len(replies[0])} replies (receipts, refusals, findings) under two label sets that differ on {moved} of "
        f"{scale.items} items and give the same told answers ({sum(told)} of {len(told)} improved)",
        came_back=f"{differ} replies differ by a byte or more",
        held=differ == 0 and 0 < sum(told) < len(told) and moved > 0,
        evidence=f"{sum(map(len, replies[0]))} bytes compared: fields, error texts, ids and sizes",
    )


def _replies(evaluator: Evaluator, bundles: list[Answers]) -> Iterator[str]:
    forum = Forum(evaluator)
    for number, row in enumerate(bundles):
        code = evaluator.commit_code("eve", {"method.py": f"# {number}"}, FAMILY)
        receipt = send(evaluator, "eve", row, code)
        yield receipt.model_dump_json()
        yield refusal(lambda code=code, row=row: evaluator.submit("eve", code["snapshot"], {"1": bits(row)}, FAMILY))
        cited = forum.share("eve", kind="result", title="t", text="", family=FAMILY, receipts=[receipt.id])
        yield f"{cited.id} {cited.receipts}"


@SYSTEM.add("timing, in the process")
def timing(folder: Path, scale: Scale) -> Row:
    """Is a 'no' that was nearly a yes answered later than one that was far from it? Ranks of interleaved pairs.

    Yes against no is not compared: which it was is told anyway.
    """
    labels_M, rng = random_labels(scale), np.random.default_rng(scale.seed)
    near: list[float] = []
    far: list[float] = []
    with Evaluator(write_problem(folder / "problem", labels_M), folder / "campaign") as evaluator:
        first = send(evaluator, "ann", flipped(labels_M, 0.2, rng))
        nearly = 1 - first.next_step_accuracy + 1.5 / scale.items  # a share of wrong answers
        code = evaluator.commit_code("eve", {"method.py": "#"}, FAMILY)
        for number in range(scale.rounds):
            pair = [(near, flipped(labels_M, nearly, rng)), (far, flipped(labels_M, 0.9, rng))]
            for times, row in pair[:: 1 if number % 2 else -1]:
                started = time.perf_counter()
                send(evaluator, "eve", row, code)
                times.append(time.perf_counter() - started)
        improved = sum(e.body["receipt"]["improved"] for e in evaluator.ledger.entries("submission"))
    auc, p = rank_test(near, far)
    return Row(
        attack="timing, in the process",
        tried=f"{scale.rounds} interleaved pairs of a nearly improving 'no' and a far one",
        came_back=f"AUC {auc:.3f}, p = {p:.3f} (Mann-Whitney, two-sided); medians {1e3 * np.median(near):.2f} and "
        f"{1e3 * np.median(far):.2f} ms",
        held=p > 0.001 and improved == 1,
        evidence="0.5 is chance; replies of the server are on a grid of time besides",
    )


def rank_test(first: list[float], second: list[float]) -> tuple[float, float]:
    """(AUC: the probability that one of `first` exceeds one of `second`, two-sided p of it being 0.5)."""
    found = mannwhitneyu(first, second, alternative="two-sided")
    return float(found.statistic) / (len(first) * len(second)), float(found.pvalue)
