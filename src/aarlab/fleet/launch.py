"""What a fleet stands on, started and stopped together: the evaluator's server, the gateway, the
scripted model API."""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import httpx

from aarlab.core.held_folder import HeldFolder
from aarlab.core.layout import CampaignFolder
from aarlab.core.process import Service
from aarlab.evaluation.ledger.places import begin
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.evaluator_process import EvaluatorProcess
from aarlab.fleet.fleet_parts import Parts
from aarlab.fleet.gateway_process import GatewayProcess
from aarlab.fleet.model_access import SCRIPTED, access_of, gateway_config
from aarlab.gateway.config import Provider
from aarlab.gateway.journal import Journal
from aarlab.researchers.script import default_script


@contextmanager
def running_parts(campaign: Campaign, folder: Path, problem: Path) -> Iterator[Parts]:
    """The parts of a fleet, all taking requests.

    Raises:
        Misconfigured: a key is missing, or one of them does not start; with its last output.
    """
    (providers, keys), api = access_of(campaign), None
    with ExitStack() as stack:
        journal = stack.enter_context(open_journal(folder))
        sockets = stack.enter_context(HeldFolder(0o711)).path
        if campaign.kind == SCRIPTED:
            script = campaign.script or str(default_script(in_folder=campaign.in_folder))
            api = stack.enter_context(ScriptedApi(folder, script))
            keys, providers = {"anthropic": "scripted"}, (Provider(name="anthropic", url=api.url),)
        config = gateway_config(campaign, providers)
        handed = {f"AAR_KEY_{name.upper()}": key for name, key in keys.items()}
        begin(folder, campaign.store, campaign.snapshots)
        evaluator = EvaluatorProcess(
            problem, folder, policy=campaign.policy, detectors=campaign.detectors
        )
        gateway = GatewayProcess(folder, config, sockets=sockets, keys=handed)
        for service in (evaluator, gateway):
            service.start()
            stack.push(service.__exit__)
        for service in (evaluator, gateway):
            service.wait()
        yield Parts(journal, evaluator, gateway, api)


@contextmanager
def open_journal(folder: Path) -> Iterator[Journal]:
    """The journal of a campaign's folder."""
    with closing(Journal(CampaignFolder(folder).gateway.journal)) as journal:
        yield journal


class ScriptedApi(Service):
    """The model API that plays a script, as a process of its own."""

    def __init__(self, folder: Path, script: str | None) -> None:
        place = CampaignFolder(folder)
        argv = [
            sys.executable,
            "-m",
            "aarlab.researchers.scripted_api",
            "--script",
            script or str(default_script()),
        ]
        address = place.scripted.address
        argv += ["--address", str(address)]
        super().__init__("scripted model API", argv, address=address, log=place.scripted_log)

    def wait(self) -> None:
        """See `Service.wait`. Started again, it is where it was, since the gateway knows it
        there."""
        super().wait()
        if "--port" not in self._argv:
            self._argv += ["--port", self.url.rpartition(":")[2]]

    def answers(self, within_s: float) -> bool:
        """Whether it answers a request in that time, be it that there is nothing there."""
        try:
            httpx.get(self.url, timeout=within_s, trust_env=False)
        except (OSError, ValueError, httpx.TransportError):
            return False
        return True

    @property
    def url(self) -> str:
        """Where it is."""
        return json.loads(self.address.read_text())["url"]
