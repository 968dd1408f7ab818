"""Lines and bytes on a connection, with limits in size and time."""

import asyncio
import contextlib
import hashlib
from pathlib import Path
from typing import IO, Any

from pydantic import TypeAdapter

from aarlab.core.errors import AarError, Misconfigured, Transient, Unauthorised
from aarlab.core.records import Record
from aarlab.nodes.messages import MOST_LINE, Reply, line_of, read

OPENING_S = 10.0  # for a first line, and for its answer
SILENT_S = 15.0  # the other side says something more often, or is gone
BEAT_S = 3.0  # between two signs of it
PIECE = 64 << 10
STALLED_S = 60.0  # the other side takes or sends nothing


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        peer = writer.get_extra_info("peername")
        # the address of the other side
        self.where = str(peer[0]) if isinstance(peer, tuple) else "this machine"

    async def line(self, within_s: float) -> bytes:
        """The next line.

        Raises:
            Transient: the connection ended, is silent, or the line is too long.
        """
        try:
            async with asyncio.timeout(within_s):
                return await self.reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            raise Transient("The connection has ended.") from error
        except asyncio.LimitOverrunError as error:
            raise Transient(f"A message has more than {MOST_LINE:,} bytes.") from error
        except TimeoutError as error:
            raise Transient(f"The other side was silent for {within_s:.0f} s.") from error
        except OSError as error:
            raise Transient(f"The connection has failed ({error}).") from error

    async def record(self, kind: TypeAdapter[Any], within_s: float) -> Any:
        """The next line as one of some records.

        Raises:
            Transient: see `line`.
            InvalidSubmission: it is none.
        """
        return read(kind, await self.line(within_s))

    async def send(self, record: Record) -> None:
        """Send one, and wait until there is room for the next.

        Raises:
            Transient: the connection has failed.
        """
        await self.put(line_of(record))

    async def put(self, data: bytes) -> None:
        """As `send`, of bytes."""
        try:
            self.writer.write(data)
            async with asyncio.timeout(STALLED_S):
                await self.writer.drain()
        except (OSError, TimeoutError) as error:
            raise Transient(f"The connection has failed ({error}).") from error

    def cut(self) -> None:
        """End it at once."""
        self.writer.transport.abort()

    async def close(self) -> None:
        """End it after what was written."""
        self.writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(2.0):
                await self.writer.wait_closed()

    async def refuse(self, error: AarError) -> None:
        """Answer a first line with why not."""
        with contextlib.suppress(Transient):
            final = isinstance(error, Unauthorised | Misconfigured)
            await self.send(Reply(ok=False, final=final, words=str(error)[:2000]))


async def send_file(wire: Wire, file: IO[bytes], size: int) -> None:
    """So many bytes of a file.

    Raises:
        Transient: the connection has failed, or the file is shorter.
    """
    left = size
    while left:
        # small: thousands of connections may each hold one that nobody takes
        piece = await asyncio.to_thread(file.read, min(left, PIECE))
        if not piece:
            raise Transient("A file became shorter while it was sent. Try again.")
        await wire.put(piece)
        left -= len(piece)


async def receive_file(wire: Wire, path: Path, size: int, sha256: str) -> None:
    """Write so many bytes to a new file, which must have that hash.

    Raises:
        Transient: the connection has failed, or other bytes came; nothing is left.
    """
    digest, left = hashlib.sha256(), size
    try:
        with path.open("xb") as file:
            while left:
                async with asyncio.timeout(STALLED_S):
                    piece = await wire.reader.read(min(left, PIECE))
                if not piece:
                    raise Transient("The connection has ended.")
                digest.update(piece)
                file.write(piece)
                left -= len(piece)
        if digest.hexdigest() != sha256:
            raise Transient(f"The data {sha256[:12]} arrived changed. They are not used.")
    except (OSError, TimeoutError) as error:
        path.unlink(missing_ok=True)
        raise Transient(f"The data {sha256[:12]} did not arrive ({error}). Try again.") from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise


async def pump(near: Wire, far: Wire) -> None:
    """Both directions of two connections, until one of them ends; then both do."""
    ways = [asyncio.create_task(_copy(near, far)), asyncio.create_task(_copy(far, near))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for wire in (near, far):
            with contextlib.suppress(OSError):
                await wire.close()


async def _copy(source: Wire, sink: Wire) -> None:
    with contextlib.suppress(OSError):
        while piece := await source.reader.read(PIECE):
            sink.writer.write(piece)
            await sink.writer.drain()
