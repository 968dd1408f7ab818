"""What a campaign needs, looked at before anything is set up, so that a slip in its file costs
seconds and leaves nothing."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from aarlab.core.amounts import size
from aarlab.core.errors import Misconfigured
from aarlab.core.files import nearest, require_writable
from aarlab.core.os_errors import as_misconfigured
from aarlab.core.settings import home
from aarlab.core.unix_sockets import require_sockets
from aarlab.evaluation.detectors import DETECTORS
from aarlab.evaluation.ledger.places import shown
from aarlab.evaluation.ledger.reachable import require_bucket, require_database
from aarlab.evaluation.scoring.policies import POLICIES
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.directions import load_directions
from aarlab.fleet.hosts import require_host, require_hostable
from aarlab.fleet.model_access import SCRIPTED, access_of, formats_of, gateway_config, listed_places
from aarlab.fleet.model_server import examine
from aarlab.gateway.config import ModelServer
from aarlab.gateway.pricing import prices
from aarlab.models.preset import FROZEN, preset
from aarlab.problems import PROBLEMS
from aarlab.problems.folder.shipped_folders import problem_of
from aarlab.problems.problem import require_items
from aarlab.researchers.kinds import RESEARCHERS
from aarlab.sandbox.disk_usage import reserve_bytes
from aarlab.sandbox.sandbox import GIB, SANDBOXES

# measured by experiments/fleet.py
IDLE_BYTES = {"search": 30 << 20, "claude_code": 215 << 20, "scripted": 215 << 20}
LEAST_DISK_BYTES = 1 << 20


def machine() -> Iterator[tuple[str, Callable[[], object]]]:
    """What every campaign needs of the machine, as `checks`."""
    root = home().root
    yield f"state: {root} can be written to", lambda: _writable(root)
    yield f"sockets under {tempfile.gettempdir()}", require_sockets


def _writable(root: Path) -> None:
    """Raises Misconfigured where state cannot be written."""
    try:
        require_writable(root)
    except OSError as error:
        raise as_misconfigured(error) from error


def checks(campaign: Campaign) -> Iterator[tuple[str, Callable[[], object]]]:
    """What is looked at, as text, and an act that raises one of our errors where it is missing."""
    yield f"problem {campaign.problem}", lambda: _problem(campaign)
    if not campaign.in_folder:
        yield f"student {campaign.student}", lambda: _student(campaign.student)
    yield f"policy {campaign.policy}", lambda: POLICIES[campaign.policy]
    yield f"sandbox {campaign.sandbox}", lambda: SANDBOXES[campaign.sandbox].require()
    yield (
        f"researchers: {campaign.kind}",
        lambda: RESEARCHERS[campaign.kind](campaign.options).require(),
    )
    for path in campaign.detectors:
        yield f"detector {path}", lambda path=path: DETECTORS.registered_by(Path(path))
    if campaign.directions:
        path = Path(campaign.directions)
        yield f"directions: {path}", lambda: load_directions(path)
    if store := campaign.store:
        yield f"store: {shown(store)}", lambda: require_database(store)
    if snapshots := campaign.snapshots:
        yield f"snapshots: {shown(snapshots)}", lambda: require_bucket(snapshots)
    if campaign.hosts:
        yield "hosts can have what researchers need", lambda: require_hostable(campaign)
    for name in campaign.hosts:
        yield f"host {name}", lambda name=name: require_host(name)
    if (server := campaign.model_api) is not None:
        yield f"model_api: {server.base_url}", lambda: _model_server(campaign, server)
    yield "limits leave room for a researcher", lambda: _room(campaign)
    yield "the disk has more than the reserve left", _reserve


def require(campaign: Campaign) -> None:
    """All of it, and the keys and prices of the models that the campaign names.

    Raises:
        Misconfigured: something is missing or misspelled; the message has all such things.
    """
    faults: list[str] = []
    for _, act in (*machine(), *checks(campaign)):
        try:
            act()
        except Misconfigured as error:
            faults.append(str(error))
    if len(faults) > 1:
        raise Misconfigured(
            "\n".join([f"{len(faults)} things are missing or wrong.", *(f"- {f}" for f in faults)])
        )
    if faults:
        raise Misconfigured(faults[0])
    _priced(campaign)


def _priced(campaign: Campaign) -> None:
    """Raises Misconfigured where a model's key or price is missing."""
    if not campaign.calls_a_model:
        return
    if listed := listed_places(campaign):
        prices(gateway_config(campaign, listed))


def _model_server(campaign: Campaign, server: ModelServer) -> None:
    """Raises Misconfigured where the operator's own model server cannot serve the campaign, or its
    prices hold no budget."""
    if not campaign.calls_a_model or campaign.kind == SCRIPTED:
        raise Misconfigured(
            f"Researchers of kind {campaign.kind} call no model server. Leave `model_api` out, or "
            "choose another kind."
        )
    priced = server.prices.input > 0 or server.prices.output > 0
    limited = (campaign.budget, campaign.campaign_budget)
    if not priced and any(b.usd is not None for b in limited) and not _machine_priced(campaign):
        raise Misconfigured(
            "A budget in usd ends nothing here: model_api.prices are 0, and no other price is set. "
            "Limit tokens or hours, or set the prices."
        )
    key = next(iter(access_of(campaign).keys.values()), "")
    formats, any_ = formats_of(campaign)
    examine(
        server,
        key,
        (campaign.model, *campaign.models),
        formats,
        any_=any_,
        counting=not campaign.start_anyway,
    )


def _machine_priced(campaign: Campaign) -> bool:
    return bool(campaign.usd_per_researcher_hour or campaign.usd_per_device_hour)


def _problem(campaign: Campaign) -> None:
    if campaign.in_folder:
        problem_of(campaign.problem)
        return
    problem = PROBLEMS[campaign.problem]
    require_items(problem)
    if problem.transfer_only:
        words = "Give it items of the split `feedback`, or run the campaign on another problem"
        raise Misconfigured(
            f"'{problem.name}' is for transfer only: researchers never see it. {words}."
        )
    if problem.worded and campaign.confirm_on_pair and campaign.student == "smollm2":
        raise Misconfigured(
            f"The other pair (MiniLM) reads pairs only, and {campaign.problem} has single "
            "choices. Set confirm_on_pair: false."
        )
    if problem.fixed and campaign.confirm_on_fresh:
        raise Misconfigured(
            f"{campaign.problem} has no other items to confirm on. Set confirm_on_fresh: false."
        )


def _student(name: str) -> None:
    """Raises Misconfigured where there is no such student."""
    if name not in FROZEN:
        preset(name)


def _room(campaign: Campaign) -> None:
    """Raises Misconfigured where a researcher would be ended before it has done anything."""
    standing, idle = campaign.limits.standing, IDLE_BYTES.get(campaign.kind)
    if idle is not None and standing.memory_bytes is not None and standing.memory_bytes < idle:
        words = (
            f"limits.memory_gib: {campaign.limits.memory_gib:g} GiB is less than an idle "
            f"{campaign.kind} takes"
        )
        raise Misconfigured(f"{words} ({size(idle)}), so that none would start. Raise it.")
    if standing.disk_bytes is not None and standing.disk_bytes < LEAST_DISK_BYTES:
        words = f"limits.disk_gib: {campaign.limits.disk_gib:g} GiB holds no file of answers"
        raise Misconfigured(f"{words}. Give {size(LEAST_DISK_BYTES)} or more.")


def _reserve() -> None:
    """Raises Misconfigured where whoever writes would be ended."""
    free, reserve = disk_free()
    if free < reserve:
        words = (
            f"{home().root} has {size(free)} left on its disk, less than the reserve of "
            f"{size(reserve)}"
        )
        raise Misconfigured(
            f"{words}: who writes would be ended. Free some, or set AAR_DISK_RESERVE_GIB."
        )


def disk_free() -> tuple[int, int]:
    """(bytes free, bytes of the reserve) of the file system that holds all state."""
    found = shutil.disk_usage(nearest(home().root))
    return found.free, reserve_bytes(found.total)


def overcommitted(campaign: Campaign) -> str | None:
    """As text, where the homes of all researchers do not fit on the disk beside the reserve if
    each is filled."""
    limit, (free, reserve) = campaign.limits.disk_gib, disk_free()
    if limit is None or campaign.researchers * limit * GIB <= free - reserve:
        return None
    words = (
        f"disk: {campaign.researchers} x {limit:g} GiB that they may use are more than the "
        f"{size(free)} free"
    )
    return f"{words} less the reserve of {size(reserve)}, below which whoever writes is ended"
