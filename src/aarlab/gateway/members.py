"""Who may call: one socket for each researcher's present incarnation, in a folder of its own that
its sandbox is given.

The socket is the identity, so nothing inside a sandbox names one. A later incarnation gets another
folder, and whatever is left of the earlier one loses its connections. Members are kept on disk: a
gateway that starts again listens at the same paths, where running sandboxes find it.
"""

import asyncio
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.core.files import OWNER_ONLY, write_whole
from aarlab.core.http import UnixServer
from aarlab.core.records import Record, validated
from aarlab.gateway.gateway_app import GatewayMember

SOCKET_NAME = "lab.sock"
STOP_S = 3.0  # for calls under way at the end


class Kept(Record):
    """A member as it is kept on disk."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    incarnation: Annotated[int, Field(ge=1)]
    token: Annotated[str, Field(pattern=r"^[!-~]{1,500}$")]  # it becomes a header
    folder: str


_KEPT = TypeAdapter(list[Kept])


@dataclass
class _Open:
    kept: Kept
    member: GatewayMember
    server: UnixServer


class Members:
    """All sockets. `app` makes the application of one member."""

    def __init__(self, file: Path, sockets: Path, app: Callable[[GatewayMember], Any]) -> None:
        self._file, self._sockets, self._app = file, sockets, app
        self._open: dict[str, _Open] = {}
        self._closing: list[UnixServer] = []  # fenced, with calls that may still be under way
        self._one = asyncio.Lock()

    async def restore(self) -> None:
        """Listen again for all that were members when the last gateway ended. Those with sockets
        elsewhere belonged to an earlier supervisor, and no sandbox of theirs runs.

        Raises:
            Misconfigured: the file is damaged.
        """
        if not self._file.exists():
            return
        try:
            kept = _KEPT.validate_json(self._file.read_text())
        except ValidationError as error:
            raise Misconfigured(
                f"{self._file} is damaged. Remove it and resume the campaign: all start again."
            ) from error
        for member in kept:
            if Path(member.folder).parent == self._sockets:
                await self._listen(member)

    async def admit(self, name: str, incarnation: int, token: str) -> Path:
        """The folder with the socket of this incarnation; asking again for the same one changes
        nothing but its token.

        Raises:
            InvalidSubmission: a later incarnation has begun.
        """
        async with self._one:
            before = self._open.get(name)
            if before is not None and before.kept.incarnation > incarnation:
                now = before.kept.incarnation
                raise InvalidSubmission(
                    f"{name} is in incarnation {now}. Incarnation {incarnation} is over.",
                    status=409,
                )
            if before is not None and before.kept.incarnation == incarnation:
                before.member.token = token
                before.kept = before.kept.model_copy(update={"token": token})
            else:
                folder = str(self._sockets / secrets.token_hex(8))
                kept = validated(
                    Kept,
                    {"name": name, "incarnation": incarnation, "token": token, "folder": folder},
                    "a member",
                )
                if before is not None:
                    self._shut(before, remove=True)
                await self._listen(kept)
            self._keep()
            return Path(self._open[name].kept.folder)

    async def dismiss(self, name: str) -> None:
        """Close a member's socket permanently.

        Raises:
            InvalidSubmission: there is no such member.
        """
        async with self._one:
            member = self._open.pop(name, None)
            if member is None:
                raise InvalidSubmission(f"There is no member {name[:100]!r}.", status=404)
            self._shut(member, remove=True)
            self._keep()

    def status(self) -> dict[str, dict[str, Any]]:
        """What is known of each, without tokens."""
        return {
            name: {
                "incarnation": m.kept.incarnation,
                "folder": m.kept.folder,
                "connections": m.server.connections,
            }
            for name, m in sorted(self._open.items())
        }

    async def close(self) -> None:
        """The gateway ends: all are put out, calls under way have STOP_S to come to their end.
        Members stay members."""
        for member in self._open.values():
            self._shut(member, remove=False)
        await asyncio.gather(*(server.finish(STOP_S) for server in self._closing))

    async def _listen(self, kept: Kept) -> None:
        folder = Path(kept.folder)
        folder.mkdir(parents=True, exist_ok=True)
        # the sandbox has a uid of its own; the folder's name is a secret to everybody else
        folder.chmod(0o711)
        member = GatewayMember(kept.name, kept.incarnation, kept.token)
        server = UnixServer(self._app(member), folder / SOCKET_NAME)
        await server.open(0o666)
        self._open[kept.name] = _Open(kept, member, server)

    def _shut(self, member: _Open, *, remove: bool) -> None:
        member.server.shut()
        self._closing = [server for server in self._closing if server.busy] + [member.server]
        if remove:
            shutil.rmtree(member.kept.folder, ignore_errors=True)

    def _keep(self) -> None:
        """For the owner alone: tokens are in it."""
        write_whole(
            self._file, _KEPT.dump_json([m.kept for m in self._open.values()]), mode=OWNER_ONLY
        )
