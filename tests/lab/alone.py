"""A server of its own for a test: a folder as another harness would write it, and clients of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import numpy as np

from aarlab.evaluation.evaluator_service import EvaluatorService, serve
from aarlab.evaluation.scoring.policies import DEFAULT_POLICY
from aarlab.fleet.evaluator_process import EvaluatorProcess
from aarlab.lab.app import create_app
from aarlab.lab.evaluator_client import EvaluatorClient

ITEMS = 60
FILES = {"method.py": "def run(task, seed): ..."}


def write_problem(folder: Path, items: int = ITEMS) -> dict[str, int]:
    """private/answers.json and private/ruler.json; the labels."""
    answers = {
        f"i-{n:04d}": int(y) for n, y in enumerate(np.random.default_rng(7).integers(0, 2, items))
    }
    (folder / "private").mkdir(parents=True)
    (folder / "private" / "answers.json").write_text(
        json.dumps({"feedback": answers, "final": {"f-1": 1}})
    )
    (folder / "private" / "ruler.json").write_text(
        json.dumps({"weak": 0.5, "ceiling": 0.9, "start": 0.55})
    )
    return answers


class Alone(EvaluatorProcess):
    """A server process on a problem of its own, and clients of it that are closed with it."""

    def __init__(self, place: Path, items: int = ITEMS, policy: str = DEFAULT_POLICY) -> None:
        self.labels, self.socket = write_problem(place / "problem", items), place / "lab.sock"
        self._clients: list[httpx.Client] = []
        super().__init__(
            place / "problem", place / "campaign", policy=policy, sockets=[self.socket]
        )

    def __enter__(self) -> "Alone":
        super().__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        for made in self._clients:
            made.close()
        super().__exit__(*exc)

    @property
    def url(self) -> httpx.URL:
        return self._http.base_url

    @property
    def pid(self) -> int:
        """Of the lab's process."""
        return json.loads(self.lab.address.read_text())["pid"]

    def client(self, name: str, role: str = "researcher") -> httpx.Client:
        """A client of /api/v1 with a new token."""
        return self.with_token(self.call("issue_token", {"name": name, "role": role})["token"])

    def with_token(self, token: str) -> httpx.Client:
        """A client of /api/v1 with that token."""
        headers = {"Authorization": f"Bearer {token}"}
        self._clients.append(
            httpx.Client(
                base_url=f"{self.url}/api/v1", headers=headers, timeout=60, trust_env=False
            )
        )
        return self._clients[-1]


@asynccontextmanager
async def app_of(place: Path, policy: str = DEFAULT_POLICY) -> AsyncIterator[httpx.AsyncClient]:
    """The lab's application and the evaluator's service on their socket, in this process; the
    operator's client of /api/v1."""
    path = place / "evaluator.sock"
    service = EvaluatorService(place / "problem", place / "campaign", policy=policy)
    served = asyncio.create_task(serve(service, path))
    client = EvaluatorClient(path)
    try:
        app = create_app(client, await client.first("limits"))
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            token = (place / "campaign" / "server" / "operator.token").read_text()
            headers = {"Authorization": f"Bearer {token}"}
            async with httpx.AsyncClient(
                transport=transport, base_url="http://x/api/v1", headers=headers
            ) as operator:
                yield operator
    finally:
        served.cancel()
        await asyncio.gather(served, return_exceptions=True)
        service.close()


async def enrol(operator: httpx.AsyncClient, name: str) -> None:
    """From here on the client is that researcher's."""
    answer = await operator.post("/tokens", json={"name": name})
    operator.headers["Authorization"] = f"Bearer {answer.json()['token']}"


def commit(mine: httpx.Client, text: str = "") -> dict:
    """Commit code; the reply."""
    return (
        mine.post("/code", json={"files": FILES | {"text.txt": text}, "family": "other"})
        .raise_for_status()
        .json()
    )


def random_rows(seeds: list[int], number: int, items: int = ITEMS) -> dict[str, str]:
    """Answers as strings, different for every number."""
    rng = np.random.default_rng(number)
    return {str(s): "".join(map(str, rng.integers(0, 2, items))) for s in seeds}


def submit(mine: httpx.Client, code: dict, predictions: dict) -> httpx.Response:
    """Submit answers for committed code."""
    return mine.post(
        "/submissions",
        json={"snapshot": code["snapshot"], "family": "other", "predictions": predictions},
    )
