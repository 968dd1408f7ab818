"""The gateway as a process of its own, and the supervisor's client of it."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx

from aarlab.core.errors import Misconfigured, Transient
from aarlab.fleet.services import Service
from aarlab.gateway.config import GatewayConfig

CONTROL_TIMEOUT_S = 10.0


class GatewayProcess(Service):
    """Started on entry, stopped on exit. It alone is given the keys, in its environment."""

    def __init__(self, campaign: Path, config: GatewayConfig, *, sockets: Path, keys: Mapping[str, str]) -> None:
        folder = campaign / "gateway"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(config.model_dump_json(indent=1))
        argv = [sys.executable, "-m", "aarlab.gateway.serve", "--campaign", str(campaign)]
        argv += ["--config", str(folder / "config.json"), "--sockets", str(sockets)]
        env = {"PATH": os.defpath, "PYTHONUNBUFFERED": "1", **keys}
        super().__init__("gateway", argv, address=folder / "address.json", log=campaign / "gateway.log", env=env)

    def admit(self, name: str, incarnation: int, token: str) -> Path:
        """Open a researcher's door for one life; the folder that holds its socket. The door of an earlier life is closed.

        Raises:
            Transient: the gateway does not answer now.
            Misconfigured: it refuses.
        """
        try:
            control = json.loads(self.address.read_text())["control"]
            transport = httpx.HTTPTransport(uds=control, verify=False)  # no certificates to load
            with httpx.Client(transport=transport, base_url="http://gateway", timeout=CONTROL_TIMEOUT_S) as client:
                answer = client.put(f"/members/{name}", json={"incarnation": incarnation, "token": token})
        except (FileNotFoundError, httpx.TransportError) as error:
            raise Transient(f"The gateway does not answer ({error}). Try again.") from error
        if not answer.is_success:
            raise Misconfigured(f"The gateway refuses {name}: {answer.text[:300]}")
        return Path(answer.json()["folder"])
