"""`python -m aarlab.gateway.serve`: the gateway of one campaign on this host, until its starter
ends or it is asked to.

Keys are in its environment alone (`aarlab.core.settings.gateway_keys`). Once calls are taken,
CAMPAIGN/gateway/address.json says where its control socket is.
"""

import argparse
import asyncio
import json
import logging
import os
import signal
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from aarlab.core.errors import Misconfigured
from aarlab.core.files import write_whole
from aarlab.core.hold import TAKEOVER_S, Hold
from aarlab.core.http import UnixServer, allow_connections
from aarlab.core.layout import CampaignFolder, GatewayFolder
from aarlab.core.os_errors import exits_with_message
from aarlab.core.parent_pipe import when_parent_ends
from aarlab.core.settings import gateway_keys
from aarlab.gateway.async_journal import AsyncJournal
from aarlab.gateway.config import GatewayConfig, read_config
from aarlab.gateway.control import control_app
from aarlab.gateway.gateway_app import MemberServices, member_app
from aarlab.gateway.journal import Journal
from aarlab.gateway.lab_proxy import LabServer
from aarlab.gateway.members import Members
from aarlab.gateway.model_api import ModelApi
from aarlab.gateway.pricing import prices
from aarlab.gateway.rate_limited_log import RepeatFilter

log = logging.getLogger("aarlab.gateway")


@dataclass(frozen=True)
class GatewayPlace:
    """Where one campaign's gateway keeps its files and its sockets."""

    campaign: Path
    sockets: Path

    @property
    def files(self) -> GatewayFolder:
        """Its files."""
        return CampaignFolder(self.campaign).gateway


def check_keys(config: GatewayConfig, keys: Mapping[str, str]) -> None:
    """Raise where a provider has no key. A server of the operator's own may need none.

    Raises:
        Misconfigured: it has none; the words name the variable.
    """
    for provider in config.providers:
        if provider.prices is None and not keys.get(provider.name):
            raise Misconfigured(
                f"There is no key for {provider.name}. Set AAR_KEY_{provider.name.upper()} for "
                "the gateway."
            )


def alone(place: GatewayPlace) -> Hold:
    """Hold the campaign's gateway lock: two gateways would settle each other's calls.

    Raises:
        Misconfigured: another one has it and does not end.
    """

    def busy(holder: str) -> str:
        return f"Another gateway, process {holder}, serves {place.campaign}. End it first."

    return Hold(place.files.lock, busy, wait_s=TAKEOVER_S)


async def serve(
    place: GatewayPlace, config: GatewayConfig, keys: Mapping[str, str], parent_pipe: int | None
) -> None:
    """Take calls until SIGTERM, SIGINT or the end of the parent; then end what is under way, and
    settle it.

    Raises:
        Misconfigured: a model has no price, or the place is unfit.
    """
    with closing(Journal(place.files.journal)) as journal:
        if left := journal.recover():
            log.warning(
                "%d calls were left open by an earlier gateway, and are settled with what was "
                "known",
                left,
            )
        spending = AsyncJournal(journal, config)
        models = ModelApi(config.providers, keys, prices(config), spending)
        services = MemberServices(
            models, LabServer(CampaignFolder(place.campaign).server.address), spending
        )
        place.sockets.mkdir(parents=True, exist_ok=True)
        place.sockets.chmod(0o711)
        members = Members(
            place.files.members, place.sockets, lambda member: member_app(member, services)
        )
        control = UnixServer(control_app(members, spending), place.sockets / "control.sock")
        await _until_stopped(place, members, control, parent_pipe)
        await services.close()
        spending.close()
        journal.recover()  # calls of which nothing was known when they were cancelled


async def _until_stopped(
    place: GatewayPlace, members: Members, control: UnixServer, parent_pipe: int | None
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if parent_pipe is not None:
        when_parent_ends(parent_pipe, stop.set)
    address = place.files.address
    try:
        await members.restore()
        await control.open(0o600)
        write_whole(address, json.dumps({"control": str(control.path), "pid": os.getpid()}))
        await stop.wait()
    finally:
        address.unlink(missing_ok=True)
        control.shut()
        await members.close()
        await control.finish(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--campaign", type=Path, required=True, help="the campaign's folder")
    parser.add_argument("--config", type=Path, required=True, help="a file with a GatewayConfig")
    parser.add_argument(
        "--sockets", type=Path, required=True, help="a folder for sockets; its path must be short"
    )
    parser.add_argument("--parent-pipe", type=int, help="a file descriptor: end when it does")
    a = parser.parse_args()
    written = logging.StreamHandler()
    written.addFilter(RepeatFilter())
    logging.basicConfig(
        level=logging.WARNING,
        format="%(asctime)s %(name)s %(levelname)s %(message)s",
        handlers=[written],
    )
    allow_connections()
    place = GatewayPlace(a.campaign.resolve(), a.sockets.resolve())
    with exits_with_message():
        config, keys = read_config(a.config), gateway_keys()
        check_keys(config, keys)
        with alone(place):
            asyncio.run(serve(place, config, keys, a.parent_pipe))


if __name__ == "__main__":
    main()
