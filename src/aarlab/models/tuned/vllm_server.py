"""vLLM's OpenAI-compatible server as a process of ours on loopback, and its client. Without torch.

Written from vLLM's documentation (serving/openai_compatible_server, features/lora) and its request's schema, and tested against
a stand-in that answers in that shape. It was NOT run with vLLM itself, which cannot be installed where this was written.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import httpx

from aarlab.core.errors import Misconfigured, Transient
from aarlab.models.critic import end_with_starter, seen

BASE = "base"  # the name under which the published weights are served
START_S, REQUEST_S = 900.0, 3600.0
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM prepares for
AT_ONCE = 256  # prompts of a request; the server batches by itself


class VllmWriter:
    """A `Writer` that speaks to a server which it started, keeps alive, and ends."""

    def __init__(self, process: subprocess.Popen, url: str, log: Path) -> None:
        self.by = f"vllm {_version()}"
        self._process, self._log = process, log
        self._http = httpx.Client(base_url=url, timeout=REQUEST_S, trust_env=False)
        self._names: dict[Path, str] = {}

    @classmethod
    def start(cls, folder: Path, *, device: str, dtype: str, log: Path, rank: int, max_tokens: int) -> "VllmWriter":
        """Start a server for one model on one device and wait until it answers.

        Raises:
            Transient: it ended, or did not answer in time.
        """
        port = _free_port()
        environment = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True", **seen(device, os.environ)}
        return cls.over(server_command(folder, port, dtype, rank, max_tokens), port, log, environment)

    @classmethod
    def over(cls, command: Sequence[str], port: int, log: Path, environment: dict[str, str]) -> "VllmWriter":
        """The same over any command that serves on this port."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            process = subprocess.Popen(
                command, stdout=out, stderr=out, env={**os.environ, **environment}, preexec_fn=end_with_starter
            )
        made = cls(process, f"http://127.0.0.1:{port}", log)
        try:
            made._wait()
        except BaseException:
            made.close()
            raise
        return made

    def write(
        self, prompts: Sequence[str], *, n: int, max_new_tokens: int, temperature: float, seed: int, adapter: Path | None = None
    ) -> list[list[str]]:
        """See `Writer`.

        Raises:
            Transient: the server refused, ended, or answered in another shape than documented.
        """
        model = BASE if adapter is None else self._load(adapter)
        out: list[list[str]] = []
        for start in range(0, len(prompts), AT_ONCE):
            some = list(prompts[start : start + AT_ONCE])
            asked = {"model": model, "prompt": some, "n": n, "max_tokens": max_new_tokens, "temperature": temperature}
            answer = self._post("/v1/completions", {**asked, "top_p": 1.0, "seed": seed + start}).json()
            out += texts_of(answer, len(some), n)
        return out

    def close(self) -> None:
        """End the server."""
        self._http.close()
        self._process.terminate()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _load(self, adapter: Path) -> str:
        path = adapter.resolve()
        if path not in self._names:
            name = f"adapter-{len(self._names)}"
            self._post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(path)})
            self._names[path] = name
        return self._names[path]

    def _post(self, path: str, fields: dict[str, Any]) -> httpx.Response:
        try:
            answer = self._http.post(path, json=fields)
        except httpx.TransportError as error:
            raise Transient(f"vLLM's server does not answer ({error}). See {self._log}.") from error
        if answer.status_code != 200:
            raise Transient(f"vLLM's server refused {path}: {answer.status_code} {answer.text[:500]}. See {self._log}.")
        return answer

    def _wait(self) -> None:
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            if (code := self._process.poll()) is not None:
                raise Transient(f"vLLM's server ended with {code} before it answered. See {self._log}.")
            try:
                if self._http.get("/health").status_code == 200:
                    return
            except httpx.TransportError:
                pass  # not listening yet
            time.sleep(0.2)
        raise Transient(f"vLLM's server did not answer within {START_S:.0f} s. See {self._log}.")


def server_command(folder: Path, port: int, dtype: str, rank: int, max_tokens: int) -> list[str]:
    """The documented command: loopback, LoRA at run time, and no sampling defaults of the model's own.

    Raises:
        Misconfigured: vLLM serves no adapters of so high a rank.
    """
    if rank > RANKS[-1]:
        raise Misconfigured(f"vLLM serves adapters up to rank {RANKS[-1]}, not {rank}. Lower the critic's rank.")
    options = {
        "--model": folder,
        "--served-model-name": BASE,
        "--host": "127.0.0.1",
        "--port": port,
        "--dtype": dtype,
        "--max-lora-rank": next(r for r in RANKS if r >= rank),
        "--max-model-len": max_tokens,
        "--generation-config": "vllm",
    }
    named = [str(word) for pair in options.items() for word in pair]
    return [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--enable-lora", *named]


def texts_of(answer: dict[str, Any], prompts: int, n: int) -> list[list[str]]:
    """n texts for each prompt: choice `index` is prompt index // n.

    Raises:
        Transient: there are not that many, or indices are missing.
    """
    choices = {choice["index"]: choice["text"] for choice in answer.get("choices", [])}
    if choices.keys() != set(range(prompts * n)):
        raise Transient(f"vLLM's server gave {len(choices)} texts for {prompts} prompts of {n} each. Try again.")
    return [[choices[p * n + k] for k in range(n)] for p in range(prompts)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _version() -> str:
    try:
        return version("vllm")
    except PackageNotFoundError:
        return "of unknown version"
