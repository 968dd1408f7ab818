"""What a fleet stands on, started and stopped together: the evaluator's server, the gateway, the scripted model API."""

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from aarlab.core.errors import Misconfigured
from aarlab.core.settings import KEYS, model_keys
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.evaluator_process import EvaluatorProcess
from aarlab.fleet.gateway_process import GatewayProcess
from aarlab.fleet.services import Service
from aarlab.fleet.supervisor import Parts
from aarlab.gateway.config import GatewayConfig, Provider
from aarlab.gateway.journal import Journal
from aarlab.researchers.script import default_script

SCRIPTED = "scripted"


@contextmanager
def standing(campaign: Campaign, folder: Path, problem: Path) -> Iterator[Parts]:
    """The parts of a fleet, all taking requests.

    Raises:
        Misconfigured: a key is missing, or one of them does not start; with its last words.
    """
    keys = required_keys(campaign) if campaign.calls_a_model and campaign.kind != SCRIPTED else {}
    with ExitStack() as stack:
        journal = stack.enter_context(opened(folder))
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aar-")))
        sockets.chmod(0o711)
        providers = {name: campaign.providers[name] for name in keys}
        if campaign.kind == SCRIPTED:
            api = stack.enter_context(ScriptedApi(folder, campaign.script))
            keys, providers = {"anthropic": "scripted"}, {"anthropic": api.url}
        config = GatewayConfig(
            models=(campaign.model, *campaign.models) if providers else (),
            providers=tuple(Provider(name=name, url=url) for name, url in providers.items()),  # type: ignore[arg-type]
            researcher_budget=campaign.budget,
            campaign_budget=campaign.campaign_budget,
        )
        handed = {f"AAR_KEY_{name.upper()}": key for name, key in keys.items()}
        evaluator = EvaluatorProcess(problem, folder, policy=campaign.policy)
        gateway = GatewayProcess(folder, config, sockets=sockets, keys=handed)
        for service in (evaluator, gateway):
            service.start()
            stack.push(service.__exit__)
        for service in (evaluator, gateway):
            service.wait()
        yield Parts(journal, evaluator, gateway)


@contextmanager
def opened(folder: Path) -> Iterator[Journal]:
    """The journal of a campaign's folder."""
    journal = Journal(folder / "gateway" / "journal.sqlite")
    try:
        yield journal
    finally:
        journal.close()


def required_keys(campaign: Campaign) -> dict[str, str]:
    """The keys of the campaign's providers that are set, by provider. A kind of the operator's own may need none.

    Raises:
        Misconfigured: none is, or the one that Claude Code needs is not.
    """
    keys = {name: key for name, key in model_keys().items() if name in campaign.providers}
    if campaign.kind == "claude_code" and "anthropic" not in keys:
        raise Misconfigured("Researchers of kind claude_code need ANTHROPIC_API_KEY. Set it; only the gateway will see it.")
    if not keys and not campaign.kind.endswith(".py"):
        words = f"Researchers of kind {campaign.kind} need the key of a model API: {', '.join(KEYS.values())}. Set one."
        raise Misconfigured(words)
    return keys


class ScriptedApi(Service):
    """The model API that plays a script, as a process of its own."""

    def __init__(self, folder: Path, script: str | None) -> None:
        place = folder / "scripted"
        argv = [sys.executable, "-m", "aarlab.researchers.scripted_api", "--script", script or str(default_script())]
        address = place / "address.json"
        argv += ["--address", str(address)]
        super().__init__("scripted model API", argv, address=address, log=folder / "scripted.log")

    @property
    def url(self) -> str:
        """Where it is."""
        return json.loads(self.address.read_text())["url"]
