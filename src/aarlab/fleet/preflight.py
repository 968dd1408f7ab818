"""What a campaign needs, looked at before anything is set up, so that a slip in its file costs seconds and leaves nothing."""

from collections.abc import Callable, Iterator
from pathlib import Path

from aarlab.core.amounts import size
from aarlab.core.errors import Misconfigured
from aarlab.fleet.campaign import PROVIDERS, Campaign
from aarlab.fleet.directions import load_directions
from aarlab.fleet.launch import SCRIPTED, required_keys
from aarlab.gateway.config import GatewayConfig, Provider
from aarlab.gateway.pricing import prices
from aarlab.models.preset import FROZEN, preset
from aarlab.problems import PROBLEMS
from aarlab.researchers.kinds import kind_named
from aarlab.sandbox.sandbox import SANDBOXES

IDLE_BYTES = {"search": 30 << 20, "claude_code": 215 << 20, "scripted": 215 << 20}  # measured by benchmarks/fleet.py
LEAST_DISK_BYTES = 1 << 20


def checks(campaign: Campaign) -> Iterator[tuple[str, Callable[[], object]]]:
    """What is looked at, in words, and an act that raises one of our errors where it is missing."""
    yield f"problem {campaign.problem}", lambda: _problem(campaign)
    yield f"student {campaign.student}", lambda: _student(campaign.student)
    yield f"sandbox {campaign.sandbox}", lambda: SANDBOXES[campaign.sandbox].require()
    yield f"researchers: {campaign.kind}", lambda: kind_named(campaign.kind)(campaign.options).require()
    if campaign.directions:
        path = Path(campaign.directions)
        yield f"directions: {path}", lambda: load_directions(path)
    yield "limits leave room for a researcher", lambda: _room(campaign)


def require(campaign: Campaign) -> None:
    """All of it, and the keys and prices of the models that the campaign names.

    Raises:
        Misconfigured: something is missing or misspelled; the first such thing.
    """
    for _, act in checks(campaign):
        act()
    if not campaign.calls_a_model:
        return
    named = ["anthropic"] if campaign.kind == SCRIPTED else list(required_keys(campaign))
    if not named:
        return
    listed = tuple(Provider.model_validate({"name": n, "url": campaign.providers.get(n, PROVIDERS[n])}) for n in named)
    prices(GatewayConfig(models=(campaign.model, *campaign.models), providers=listed))


def _problem(campaign: Campaign) -> None:
    if PROBLEMS[campaign.problem].fixed and campaign.confirm_on_fresh:
        raise Misconfigured(f"{campaign.problem} has no other items to confirm on. Set confirm_on_fresh: false.")


def _student(name: str) -> None:
    """Raises Misconfigured where there is no such student, or it is trained in the screening tier."""
    if name not in FROZEN and preset(name).recipe.screen_layers is not None:
        words = "is in the screening tier, which ranks ideas and never enters a leaderboard"
        raise Misconfigured(f"The preset {name} {words}. Take one without screen_layers for a campaign.")


def _room(campaign: Campaign) -> None:
    """Raises Misconfigured where a researcher would be ended before it has done anything."""
    standing, idle = campaign.limits.standing, IDLE_BYTES.get(campaign.kind)
    if idle is not None and standing.memory_bytes is not None and standing.memory_bytes < idle:
        words = f"limits.memory_gib: {campaign.limits.memory_gib:g} GiB is less than an idle {campaign.kind} takes"
        raise Misconfigured(f"{words} ({size(idle)}), so that none would start. Raise it.")
    if standing.disk_bytes is not None and standing.disk_bytes < LEAST_DISK_BYTES:
        words = f"limits.disk_gib: {campaign.limits.disk_gib:g} GiB holds no file of answers"
        raise Misconfigured(f"{words}. Give {size(LEAST_DISK_BYTES)} or more.")
