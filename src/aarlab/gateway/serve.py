"""`python -m aarlab.gateway.serve`: the gateway of one campaign on this host, until its starter ends or it is told to.

Keys are in its environment alone (`aarlab.core.settings.gateway_keys`). Once calls are taken, CAMPAIGN/gateway/address.json
says where its control socket is.
"""

import argparse
import asyncio
import fcntl
import json
import logging
import os
import resource
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aarlab.core.errors import AarError, Misconfigured
from aarlab.core.lifeline import when_cut
from aarlab.core.settings import gateway_keys
from aarlab.gateway.app import Desk, member_app
from aarlab.gateway.config import GatewayConfig, read_config
from aarlab.gateway.control import control_app
from aarlab.gateway.doors import Door
from aarlab.gateway.journal import Journal
from aarlab.gateway.lab import Lab
from aarlab.gateway.members import Members
from aarlab.gateway.model_api import ModelApi
from aarlab.gateway.pricing import prices
from aarlab.gateway.seldom import Seldom
from aarlab.gateway.till import Till

TAKEOVER_S = 15.0  # for an earlier gateway of this campaign to end
log = logging.getLogger("aarlab.gateway")


@dataclass(frozen=True)
class Place:
    """Where one campaign's gateway keeps its files and its sockets."""

    campaign: Path
    sockets: Path

    @property
    def folder(self) -> Path:
        """Of its files."""
        return self.campaign / "gateway"


def check_keys(config: GatewayConfig, keys: Mapping[str, str]) -> None:
    """Raise where a provider has no key.

    Raises:
        Misconfigured: it has none; the words name the variable.
    """
    for provider in config.providers:
        if not keys.get(provider.name):
            raise Misconfigured(f"There is no key for {provider.name}. Set AAR_KEY_{provider.name.upper()} for the gateway.")


@contextmanager
def alone(place: Place) -> Iterator[None]:
    """Hold the campaign's gateway lock: two gateways would settle each other's calls.

    Raises:
        Misconfigured: another one has it and does not end.
    """
    place.folder.mkdir(parents=True, exist_ok=True)
    with (place.folder / "lock").open("w") as lock:
        until = time.monotonic() + TAKEOVER_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise Misconfigured(f"Another gateway serves {place.campaign}. End it first.") from None
                time.sleep(0.05)
            else:
                break
        yield


async def serve(place: Place, config: GatewayConfig, keys: Mapping[str, str], lifeline: int | None) -> None:
    """Take calls until SIGTERM, SIGINT or the end of the lifeline; then end what is under way, and settle it.

    Raises:
        Misconfigured: a model has no price, or the place is unfit.
    """
    journal = Journal(place.folder / "journal.sqlite")
    try:
        if left := journal.recover():
            log.warning("%d calls were left open by an earlier gateway, and are settled with what was known", left)
        till = Till(journal, config)
        models = ModelApi(config.providers, keys, prices(config), till)
        desk = Desk(models, Lab(place.campaign / "server" / "address.json"), till)
        place.sockets.mkdir(parents=True, exist_ok=True)
        place.sockets.chmod(0o711)
        members = Members(place.folder / "members.json", place.sockets, lambda member: member_app(member, desk))
        control = Door(control_app(members, till), place.sockets / "control.sock")
        await _until_told(place, members, control, lifeline)
        await desk.close()
        till.close()
        journal.recover()  # calls of which nothing was known when they were cancelled
    finally:
        journal.close()


async def _until_told(place: Place, members: Members, control: Door, lifeline: int | None) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    if lifeline is not None:
        when_cut(lifeline, told.set)
    address = place.folder / "address.json"
    try:
        await members.restore()
        await control.open(0o600)
        partial = address.with_suffix(".partial")
        partial.write_text(json.dumps({"control": str(control.path), "pid": os.getpid()}))
        partial.replace(address)
        await told.wait()
    finally:
        address.unlink(missing_ok=True)
        control.shut()
        await members.close()
        await control.finish(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--campaign", type=Path, required=True, help="the campaign's folder")
    parser.add_argument("--config", type=Path, required=True, help="a file with a GatewayConfig")
    parser.add_argument("--sockets", type=Path, required=True, help="a folder for sockets; its path must be short")
    parser.add_argument("--lifeline", type=int, help="a file descriptor: end when it does")
    a = parser.parse_args()
    written = logging.StreamHandler()
    written.addFilter(Seldom())
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s", handlers=[written])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    place = Place(a.campaign.resolve(), a.sockets.resolve())
    try:
        config, keys = read_config(a.config), gateway_keys()
        check_keys(config, keys)
        with alone(place):
            asyncio.run(serve(place, config, keys, a.lifeline))
    except AarError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
