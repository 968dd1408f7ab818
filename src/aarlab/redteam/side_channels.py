"""Attackers that look beside the answer: at every byte of a reply, and at the time that it takes.
Each is tried on an evaluator in this process and through a server's HTTP."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
from scipy.stats import mannwhitneyu

from aarlab.core.entries import SubmissionBody
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.forum import Forum
from aarlab.redteam.on_evaluator import FAMILY, Answers, bits, flipped, refusal, same_seeds, send
from aarlab.redteam.served import API, body, commit, served, tool
from aarlab.redteam.system import SYSTEM, AttackRow, AttackScale, random_labels, write_problem


def _twins(scale: AttackScale, more: int) -> tuple[list[Answers], list[Answers]]:
    """Two label sets that give the same reported answers, and bundles to ask of both.

    The second label set reverses pairs of labels of which the one improving bundle has one right
    and one wrong, so that its score is the same; the others get no improvement under either.
    """
    rng, labels_M = np.random.default_rng(scale.seed), random_labels(scale)
    good_M = flipped(labels_M, 0.1, rng)
    right, wrong = np.flatnonzero(good_M == labels_M), np.flatnonzero(good_M != labels_M)
    other_M = labels_M.copy()
    other_M[np.concatenate([right[: len(wrong)], wrong])] ^= True
    rest = [flipped(labels_M, 0.5, rng) for _ in range(more)]
    return [labels_M, other_M], [rest[0], good_M, *rest[1:], good_M]


def _compared(
    attack: str, labels: list[Answers], replies: list[list[str]], improved: int, what: str
) -> AttackRow:
    """Every byte of every reply under the one label set against those under the other."""
    differ = sum(a != b for a, b in zip(*replies, strict=True))
    moved = int((labels[0] != labels[1]).sum())
    return AttackRow(
        attack=attack,
        tried=f"{len(replies[0])} replies under two label sets that differ on {moved} of "
        f"{len(labels[0])} items and give the same reported answers ({improved} improved)",
        came_back=f"{differ} replies differ by a byte or more",
        held=differ == 0 and improved > 0 and moved > 0,
        evidence=f"{sum(map(len, replies[0]))} bytes compared: {what}",
    )


@SYSTEM.add("metadata")
def metadata(folder: Path, scale: AttackScale) -> AttackRow:
    """The same submissions against two label sets that give the same reported answers: every byte
    of every reply is compared."""
    labels, bundles = _twins(scale, 21)
    replies = []
    for name, labels_M in zip(("one", "two"), labels, strict=True):
        problem = write_problem(folder / name / "problem", labels_M)
        with Evaluator(problem, same_seeds(folder / name)) as evaluator:
            replies.append(list(_replies(evaluator, bundles)))
    receipts = [json.loads(reply) for reply in replies[0] if reply.startswith("{")]
    improved = sum(receipt["improved"] for receipt in receipts)
    row = _compared("metadata", labels, replies, improved, "fields, error texts, ids and sizes")
    return row.model_copy(update={"held": row.held and improved < len(receipts)})


def _replies(evaluator: Evaluator, bundles: list[Answers]) -> Iterator[str]:
    forum = Forum(evaluator)
    for number, row in enumerate(bundles):
        code = evaluator.commit_code("eve", {"method.py": f"# {number}"}, FAMILY)
        receipt = send(evaluator, "eve", row, code)
        yield receipt.model_dump_json()
        yield refusal(
            lambda code=code, row=row: evaluator.submit(
                "eve", code["snapshot"], {"1": bits(row)}, FAMILY
            )
        )
        cited = forum.share(
            "eve", kind="result", title="t", text="", family=FAMILY, receipts=[receipt.id]
        )
        yield f"{cited.id} {cited.receipts}"


@SYSTEM.add("metadata over HTTP")
def metadata_over_http(folder: Path, scale: AttackScale) -> AttackRow:
    """As `metadata`, through the server: status, headers but the date, and body of every reply."""
    labels, bundles = _twins(scale, 13)
    replies = []
    for name, labels_M in zip(("one", "two"), labels, strict=True):
        with served(folder / name, labels_M) as server, server.client(server.token("eve")) as eve:
            of = [_replies_over_http(eve, number, row) for number, row in enumerate(bundles)]
            replies.append([reply for some in of for reply in some])
    improved = sum('"improved":true' in reply for reply in replies[0])
    what = "status, headers without the date, body"
    return _compared("metadata over HTTP", labels, replies, improved, what)


def _replies_over_http(eve: httpx.Client, number: int, row: Answers) -> list[str]:
    code = commit(eve, f"# {number}")
    sent = body(code, row)
    answers = [
        eve.post(f"{API}/submissions", json=sent),
        eve.post(f"{API}/submissions", json=sent | {"predictions": {"1": bits(row)}}),
        tool(eve, "submit_predictions", sent),
        eve.get(f"{API}/receipts/r-{number + 1:06d}"),
        eve.get(f"{API}/leaderboard"),
        eve.get(f"{API}/released"),
    ]
    return [
        f"{a.status_code} {sorted((k, v) for k, v in a.headers.items() if k != 'date')} {a.text}"
        for a in answers
    ]


def _timed(
    attack: str,
    scale: AttackScale,
    send_near: Callable[[], Callable[[], object]],
    send_far: Callable[[], Callable[[], object]],
    evidence: str,
) -> AttackRow:
    """Is a 'no' near an improvement answered later than one far from it? Ranks of interleaved
    pairs. Each of the two prepares a submission of its kind, and what sends it is timed.

    Improvements are not compared with others: the answer itself reports which it was.
    """
    near: list[float] = []
    far: list[float] = []
    for number in range(scale.rounds):
        pair = [(near, send_near()), (far, send_far())]
        for times, act in pair[:: 1 if number % 2 else -1]:
            started = time.perf_counter()
            act()
            times.append(time.perf_counter() - started)
    auc, p = rank_test(near, far)
    return AttackRow(
        attack=attack,
        tried=f"{scale.rounds} interleaved pairs of a nearly improving 'no' and a far one",
        came_back=f"AUC {auc:.3f}, p = {p:.3f} (Mann-Whitney, two-sided); medians "
        f"{1e3 * np.median(near):.2f} and {1e3 * np.median(far):.2f} ms",
        held=p > 0.001,
        evidence=evidence,
    )


@SYSTEM.add("timing, in the process")
def timing(folder: Path, scale: AttackScale) -> AttackRow:
    """The times of an evaluator in this process."""
    labels_M, rng = random_labels(scale), np.random.default_rng(scale.seed)
    with Evaluator(write_problem(folder / "problem", labels_M), folder / "campaign") as evaluator:
        first = send(evaluator, "ann", flipped(labels_M, 0.2, rng))
        nearly = 1 - first.next_step_accuracy + 1.5 / scale.items  # a share of wrong answers
        code = evaluator.commit_code("eve", {"method.py": "#"}, FAMILY)

        def sends(share: float) -> Callable[[], object]:
            row = flipped(labels_M, share, rng)
            return lambda: send(evaluator, "eve", row, code)

        evidence = "0.5 is chance; replies of the server are on a grid of time besides"
        made = _timed(
            "timing, in the process", scale, lambda: sends(nearly), lambda: sends(0.9), evidence
        )
        improved = sum(
            e.read(SubmissionBody).receipt.improved for e in evaluator.ledger.entries("submission")
        )
    return made.model_copy(update={"held": made.held and improved == 1})


@SYSTEM.add("timing, over HTTP")
def timing_over_http(folder: Path, scale: AttackScale) -> AttackRow:
    """The times of a client of the server, whose replies to submissions are on a grid of time."""
    labels_M, rng = random_labels(scale), np.random.default_rng(scale.seed)
    with served(folder, labels_M) as server, server.client(server.token("eve")) as eve:
        code = commit(eve)

        def sends(share: float) -> Callable[[], httpx.Response]:
            sent = body(code, flipped(labels_M, share, rng))
            return lambda: eve.post(f"{API}/submissions", json=sent)

        nearly = 1 - sends(0.2)().json()["next_step_accuracy"] + 1.5 / scale.items
        evidence = (
            "0.5 is chance; an answer reports improvements anyway, so only 'no' is compared with "
            "'no'"
        )
        return _timed(
            "timing, over HTTP", scale, lambda: sends(nearly), lambda: sends(0.9), evidence
        )


def rank_test(first: list[float], second: list[float]) -> tuple[float, float]:
    """(AUC: the probability that one of `first` exceeds one of `second`, two-sided p of it being
    0.5)."""
    found = mannwhitneyu(first, second, alternative="two-sided")
    return float(found.statistic) / (len(first) * len(second)), float(found.pvalue)
