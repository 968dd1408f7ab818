"""The board as plain fields, for comparisons."""

from typing import Any

from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.leaderboard import Board


def reported_board(evaluator: Evaluator, page: int) -> list[dict[str, Any]]:
    """One page of it."""
    return [row.model_dump() for row in Board(evaluator.ledger).page(page)[0]]
