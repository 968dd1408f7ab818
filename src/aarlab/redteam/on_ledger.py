"""Attackers on what the ledger shows: its Merkle root, the hashes of its entries, and proofs.

A hash of a hidden number is that number: an exact score is one of 5n + 1 values, and whoever knows
the rest tries them all.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aarlab.core.entries import SubmissionBody
from aarlab.evaluation.audit import Files, load_key
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.issued_seeds import SEEDS
from aarlab.evaluation.ledger.chain import Shown
from aarlab.evaluation.ledger.merkle import Tree, leaf_hash
from aarlab.evaluation.proofs import find, prove
from aarlab.redteam.on_evaluator import flipped, send
from aarlab.redteam.system import SYSTEM, AttackRow, AttackScale, random_labels, write_problem

TRIES = 8  # submissions whose exact score is looked for


@SYSTEM.add("hashes of exact scores")
def hashes(folder: Path, scale: AttackScale) -> AttackRow:
    """A reader's token and one researcher once read every label off the root, which committed to
    exact scores without a salt.

    The attacker is given more than any token gives: all of every other entry, salts included, and
    of the entry under attack the time, the hash, the root with it as the last leaf, a proof, and
    all that is hidden beside the score.
    """
    labels_M, rng = random_labels(scale), np.random.default_rng(scale.seed)
    problem, campaign = write_problem(folder / "problem", labels_M), folder / "campaign"
    # entry of a submission -> size and root right after it
    roots: dict[int, tuple[int, bytes]] = {}
    with Evaluator(problem, campaign) as evaluator:
        for _ in range(TRIES):
            send(evaluator, "eve", flipped(labels_M, 0.2 + 0.6 * rng.random(), rng))
            roots[evaluator.ledger.entries("submission")[-1].seq] = evaluator.ledger.head()
        truth = {
            e.seq: e.read(SubmissionBody).exact_accuracy
            for e in evaluator.ledger.entries("submission")
        }
        pgr = evaluator.pgr_scale.pgr
        scores = [k / (SEEDS * scale.items) for k in range(SEEDS * scale.items + 1)]
    files, read = Files(campaign, problem), 0
    key, rows = (
        load_key(files.key),
        [find(files, str(n + 1)) for n in range(max(s for s, _ in roots.values()))],
    )
    for seq, (size, root) in roots.items():
        leaves = [leaf_hash(row.canonical) for row in rows[:size]]
        targets = {rows[seq - 1].hash, root.hex()}
        # given, too: all that is hidden but the score
        rest = json.loads(rows[seq - 1].hidden or "{}")
        guesses = {
            score: rest | {"exact_accuracy": score, "exact_pgr": pgr(score)} for score in scores
        }
        read += truth[seq] in _guessed(prove(files, key, rows[seq - 1]), targets, leaves, guesses)
    return AttackRow(
        attack="hashes of exact scores",
        tried=(
            f"{TRIES} submissions; for each of {len(scores)} possible scores: is it in the "
            "entry's hash, its leaf, its commitment, or the root?"
        ),
        came_back=f"{read} of {TRIES} exact scores read",
        held=read == 0,
        evidence=(
            "given to the attacker: salts of all other entries; time, hash and proof of the "
            "entry under attack, and what it hides beside the score"
        ),
    )


def _guessed(
    proof: dict[str, Any],
    targets: set[str],
    leaves: list[bytes],
    guesses: Mapping[float, dict[str, Any]],
) -> set[float]:
    """The scores under which a hash comes out as one that was shown. The entry's own leaf among
    `leaves` is not looked at."""
    shown, found = Shown(**proof["entry"]), set()
    targets = {*targets, *proof["path"], *(shown[6:])}
    for score, guess in guesses.items():
        for text in _texts(shown, guess):
            leaf = leaf_hash(text)
            root = Tree([*leaves[: shown.seq - 1], leaf, *leaves[shown.seq :]]).root()
            if {hashlib.sha256(text).hexdigest(), leaf.hex(), root.hex()} & targets:
                found.add(score)
    return found


def _texts(shown: Shown, guess: dict[str, Any]) -> Iterator[bytes]:
    """What might have been hashed under that guess: the whole entry as before there were salts, the
    hidden part alone, and both with what a proof shows of the salt."""
    hidden = json.dumps(guess, sort_keys=True)
    whole = json.dumps(json.loads(shown.body) | guess, sort_keys=True)
    yield Shown(*shown[:4], whole, shown.prev).canonical
    yield hidden.encode()
    for key in (shown.mask, shown.commitment):
        if key:
            yield bytes.fromhex(key) + hidden.encode()
            yield Shown(*shown[:6], key, hashlib.sha256(hidden.encode()).hexdigest()).canonical
