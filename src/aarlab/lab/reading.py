"""Who is sent whose findings: the evaluator records it before they are sent."""

from collections.abc import Sequence

from aarlab.core.callers import Identity
from aarlab.core.evaluator_socket import Reading
from aarlab.core.records import Finding
from aarlab.lab.evaluator_client import EvaluatorClient

MOST = 2_000  # findings of one reader that are remembered


class Readings:
    """Asks for the record of what each researcher reads for the first time; what this process
    remembers as recorded it does not ask for again."""

    def __init__(self, client: EvaluatorClient) -> None:
        self._client = client
        self._known: dict[tuple[str, bool], set[str]] = {}  # (who, whether in a list) -> findings

    async def record(
        self, me: Identity, token: str, findings: Sequence[Finding], *, listed: bool
    ) -> None:
        """Have it recorded that the owner of the token reads these, as far as others wrote them.

        Raises:
            Unauthorised: the token is not valid any more.
            Transient: the evaluator does not run, or cannot write; then nothing may be sent.
        """
        if me.role != "researcher":
            return
        known = self._known.setdefault((me.name, listed), set())
        new = [one.id for one in findings if one.id not in known and one.author != me.name]
        if new:
            await self._client.ask("reading", Reading(token=token, findings=new, listed=listed))
            for how in {listed, True}:  # who opened one needs no list of it any more
                remembered = self._known.setdefault((me.name, how), set())
                if len(remembered) > MOST:
                    remembered.clear()
                remembered.update(new)
