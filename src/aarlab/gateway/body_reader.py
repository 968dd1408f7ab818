"""`python -m aarlab.gateway.body_reader`: reads large requests to model APIs for the gateway, in a
process of its own: whoever reads JSON holds its interpreter, and the gateway serves everybody.

On standard input and output, per request: a line of JSON with `size`, then so many bytes. A request
names `path` and `query`; the answer is the fields of a `CheckedRequest` with its body as the
bytes, null where no model API has the path, or a refusal. It is given no key, and ends with its
input.
"""

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from typing import Any, BinaryIO

from aarlab.core.errors import InvalidSubmission, Transient
from aarlab.gateway.allowed_requests import read_ask
from aarlab.gateway.request_checks import CheckedRequest

LINE = 1 << 20  # bytes of the line before a body, at most
READ_S = 60.0  # for one request, the process's start included; the largest takes a second


class BodyReader:
    """The gateway's side: one process, started when it is needed, that reads one request at a
    time."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None

    async def read(self, path: str, query: bytes, body: bytes) -> CheckedRequest | None:
        """See `read_ask`.

        Raises:
            InvalidSubmission: as `read_ask`.
            Transient: the process ended, or took too long; another is started for the next
                request.
        """
        async with self._turn:
            done = False
            try:
                async with asyncio.timeout(READ_S):
                    answer, packed = await self._answer(path, query, body)
                done = True
            except (OSError, EOFError, ValueError) as error:  # a TimeoutError is an OSError
                raise Transient("The request could not be read. Send it again.") from error
            finally:
                if not done:  # what comes next would be the answer to this one
                    await self._end()
        if "refused" in answer:
            raise InvalidSubmission(answer["refused"], **answer["facts"])
        return None if answer["ask"] is None else CheckedRequest(**answer["ask"], body=packed)

    async def _answer(self, path: str, query: bytes, body: bytes) -> tuple[dict[str, Any], bytes]:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "aarlab.gateway.body_reader"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={},
                limit=LINE,
                start_new_session=True,
            )
        to, back = self._process.stdin, self._process.stdout
        assert to is not None
        assert back is not None
        to.write(_line(len(body), path=path, query=query.decode("latin-1")))
        to.write(body)
        await to.drain()
        answer = json.loads(await back.readline())
        return answer, await back.readexactly(answer["size"])

    async def _end(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        self._process = None

    async def close(self) -> None:
        """End the process."""
        async with self._turn:
            await self._end()


def _line(size: int, **fields: Any) -> bytes:
    return json.dumps({"size": size, **fields}).encode() + b"\n"


def _worked(path: str, query: bytes, body: bytes) -> tuple[bytes, bytes]:
    """The answer to one request: its line, and its body."""
    try:
        ask = read_ask(path, query, body)
    except InvalidSubmission as error:
        return _line(0, refused=str(error), facts=error.facts), b""
    if ask is None:
        return _line(0, ask=None), b""
    fields = asdict(ask)
    packed = fields.pop("body")
    return _line(len(packed), ask=fields), packed


def serve(given: BinaryIO, back: BinaryIO) -> None:
    """Answer until the input ends."""
    while line := given.readline():
        asked = json.loads(line)
        body = given.read(asked["size"])
        for part in _worked(asked["path"], asked["query"].encode("latin-1"), body):
            back.write(part)
        back.flush()


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    serve(sys.stdin.buffer, sys.stdout.buffer)
