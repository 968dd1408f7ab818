"""How long a connection may keep a server of ours waiting. An idle one costs a file and no thread, but not for ever."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S = 10.0  # for the whole head of a request, from its first byte or from the connection's beginning
MAX_HEAD = 64 << 10  # bytes


class Patient(HttpToolsProtocol):
    """uvicorn's protocol, with a limit in time and size for heads that do not come to an end."""

    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEAD_S, self.hang_up)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:  # a request is in work
            self._rest()
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD:
            self.hang_up()
        elif self._timer is None:
            self._timer = self.loop.call_later(HEAD_S, self.hang_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        super().connection_lost(exc)

    def hang_up(self, at_once: bool = False) -> None:
        """After what was written, or at once."""
        self._rest()
        if at_once:
            self.transport.abort()
        else:
            self.transport.close()

    def _rest(self) -> None:
        self._head_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
