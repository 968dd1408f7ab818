"""The leaders' snapshots, run by us: clean sandbox, fresh seeds, `final` items. Only this answers about the final split."""

from collections.abc import Callable
from typing import Any

from aarlab.core.errors import InvalidSubmission
from aarlab.fleet.evaluator_process import EvaluatorProcess
from aarlab.runs.engine import LocalEngine


def confirm_leaders(
    evaluator: EvaluatorProcess, engine: LocalEngine, how_many: int, say: Callable[[str, int, int], None]
) -> list[dict[str, Any]]:
    """Confirm the leaders by exact feedback score; each confirmation's ledger body, in rank order.

    A snapshot that fails here is recorded as failed with its words; an infrastructure failure is raised and is no result.

    Raises:
        Transient, Misconfigured: the infrastructure failed; run the campaign again to go on from here.
    """
    begun = evaluator.call("POST", "/confirmations", {"count": how_many})
    say("confirmation on final", 0, len(begun))
    futures = [engine.pool.submit(_confirm, evaluator, engine, one) for one in begun]
    bodies = []
    for done, future in enumerate(futures, start=1):
        bodies.append(future.result())
        say("confirmation on final", done, len(begun))
    return bodies


def _confirm(evaluator: EvaluatorProcess, engine: LocalEngine, begun: dict[str, Any]) -> dict[str, Any]:
    seeds = tuple(begun["seeds"])
    try:
        result = engine.run(begun["files"], "final", seeds)
    except InvalidSubmission as error:
        return evaluator.call("POST", f"/confirmations/{begun['id']}", {"error": str(error)})
    return evaluator.call("POST", f"/confirmations/{begun['id']}", {"predictions": result.answers})
