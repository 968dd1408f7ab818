"""What this machine has and lacks: for the demo, for fleets of language-model agents, and for one campaign in particular."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from aarlab.core.amounts import size
from aarlab.core.errors import AarError
from aarlab.core.printable import one_line
from aarlab.core.settings import KEYS, home, model_keys
from aarlab.fleet import preflight
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.launch import SCRIPTED, required_keys
from aarlab.fleet.preflight import IDLE_BYTES
from aarlab.gateway.config import GatewayConfig, Provider
from aarlab.gateway.pricing import prices
from aarlab.problems import PROBLEMS
from aarlab.sandbox import SANDBOXES
from aarlab.sandbox.bubblewrap import REMEDY, Bubblewrap, probe
from aarlab.sandbox.sandbox import GIB, Limits, SandboxSpec

NEEDED_BYTES = 3 << 30
LIMITED = ("memory", "pids", "cpus", "disk")
OTHER_BYTES = 1 << 30  # the server, the gateway, the supervisor, the engine's workers
ASK_S = 20.0


class Check(NamedTuple):
    """`good` None: not needed for the demo, and worth knowing."""

    good: bool | None
    what: str
    remedy: str = ""


def examine(console: Console, campaign: Campaign | None = None, more: Mapping[str, Iterable[Check]] | None = None) -> bool:
    """Print one line a check; True if the demo can run, and the campaign if one is given, and no check of `more` fails."""
    good = True
    groups = {"demo": demo(), "fleets of agents": agents()} | ({} if campaign is None else {campaign.name: needs(campaign)})
    groups |= more or {}
    for title, checks in groups.items():
        console.print(Text(title, style="bold"))
        for check in checks:
            console.print(_line(check), soft_wrap=True)
            good = good and check.good is not False
    words = f"problems: {', '.join(PROBLEMS)}; cores: {os.cpu_count()}; state: {home().root}"
    console.print(Text(words), soft_wrap=True)
    return good


def _line(check: Check) -> Text:
    word = {True: "ok     ", False: "MISSING", None: "note   "}[check.good]
    remedy = f": {check.remedy}" if check.remedy and check.good is not True else ""
    return Text(f"{word} {one_line(check.what + remedy, 2000)}")


# --- the demo -----------------------------------------------------------------------------------------------------------


def demo() -> Iterator[Check]:
    """What the demo needs."""
    root = home().root
    free = shutil.disk_usage(root if root.exists() else root.parent).free
    missing = [name for name in ("torch", "transformers", "gguf", "accelerate") if importlib.util.find_spec(name) is None]
    words = probe()
    yield Check(sys.version_info >= (3, 11), f"Python {sys.version.split()[0]}", "install Python 3.11 or newer")
    yield Check(not missing, "packages for the real student", f"pip install 'aarlab[models]' (missing: {', '.join(missing)})")
    yield Check(words is None, "sandbox: bubblewrap", f"{words}. {REMEDY}")
    yield Check(os.geteuid() != 0 or shutil.which("setpriv") is not None, "setpriv (as root)", "install util-linux")
    yield Check(free > NEEDED_BYTES, f"disk: {size(free)} free for {root}", "free 3 GB, or set AAR_HOME elsewhere")
    if words is None:
        yield python_inside()


def python_inside() -> Check:
    """Whether a sandbox can run this Python, and this package in it."""
    sandbox = Bubblewrap(SandboxSpec(name="doctor", mounts=()))
    try:
        done = sandbox.exec([sys.executable, "-c", "import aarlab.researchers.inside"], Limits(timeout_s=ASK_S))
    finally:
        sandbox.close()
    remedy = f"{done.output.strip()[-300:]}. Keep the interpreter and its environment where other users may read them."
    return Check(done.returncode == 0, "sandbox: this Python runs inside", remedy)


# --- fleets of agents ---------------------------------------------------------------------------------------------------


def agents() -> Iterator[Check]:
    """What fleets of language-model agents need; none of it is needed for the demo."""
    held = Bubblewrap.limits_held()
    for limit in LIMITED:
        yield _held(limit, held, None)
    yield claude_code()
    for provider, name in KEYS.items():
        found = provider in model_keys()
        what = f"key of {provider}: {name} is {'set (the gateway alone will see it)' if found else 'not set'}"
        yield Check(True if found else None, what, f"researchers that call {provider}'s models need it")
    yield _model(Campaign().model, Campaign().providers, None)
    yield docker()
    yield Check(True, f"memory: {size(available_bytes())} available, enough for about {room('claude_code')} Claude Code idle")


def _held(limit: str, held: dict[str, str], lacking: bool | None) -> Check:
    if limit in held:
        return Check(True, f"limit on {limit}: {held[limit]}")
    return Check(lacking, f"limit on {limit}: not held here", "run as root, under systemd, or where cgroups can be made")


def claude_code() -> Check:
    """The CLI that comes with claude-agent-sdk, and its version."""
    spec = importlib.util.find_spec("claude_agent_sdk")
    remedy = "pip install 'aarlab[claude]'"
    if spec is None or spec.origin is None:
        return Check(None, "Claude Code: not installed", remedy)
    program = Path(spec.origin).parent / "_bundled" / "claude"
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=ASK_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check(None, f"Claude Code: {program} does not run ({error})", remedy)
    version = re.match(r"[0-9.]+", done.stdout)
    if version is None:
        return Check(None, f"Claude Code: {program} does not say its version", remedy)
    return Check(True, f"Claude Code {version[0]}")


def docker() -> Check:
    """The engine of the other sandbox."""
    program = shutil.which("docker")
    if program is None:
        return Check(None, "docker: no engine here", "only sandbox=docker needs one")
    try:
        asked = [program, "info", "--format", "{{.ServerVersion}}"]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=ASK_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check(None, f"docker: the engine does not answer ({error})", "only sandbox=docker needs one")
    if done.returncode != 0:
        return Check(None, f"docker: {done.stderr.strip()[:200]}", "only sandbox=docker needs an engine")
    return Check(True, f"docker: engine {done.stdout.strip()}")


def _model(model: str, providers: dict[str, str], lacking: bool | None) -> Check:
    """Whether the gateway can price the model, so that a budget in dollars can hold it."""
    listed = tuple(Provider.model_validate({"name": name, "url": url}) for name, url in providers.items())
    try:
        price = next(iter(prices(GatewayConfig(models=(model,), providers=listed)).values()))
    except AarError as error:
        return Check(lacking, f"price of {model}", str(error))
    million = 1_000_000
    dollars = price.usd(input_tokens=million), price.usd(output_tokens=million)
    return Check(True, f"price of {model}: ${dollars[0]:.2f} in, ${dollars[1]:.2f} out for a million tokens")


def available_bytes() -> int:
    """Memory that could be used now, by /proc/meminfo."""
    rows = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(rows["MemAvailable"].split()[0]) << 10


def room(kind: str) -> int:
    """How many idle researchers of a kind fit into the memory that is available."""
    return max(0, available_bytes() - OTHER_BYTES) // IDLE_BYTES.get(kind, IDLE_BYTES["claude_code"])


# --- one campaign -------------------------------------------------------------------------------------------------------


def needs(campaign: Campaign) -> Iterator[Check]:
    """What this campaign needs of this machine."""
    for what, act in preflight.checks(campaign):
        yield _raises(what, act)
    yield from _models(campaign)
    for device in campaign.devices:
        yield Check(Path(device).exists(), f"device {device}", "install its driver, or leave it out of `devices`")
    held = SANDBOXES[campaign.sandbox].limits_held()
    standing = campaign.limits.standing
    asked = {"memory": standing.memory_bytes, "pids": standing.pids, "cpus": standing.cpus, "disk": standing.disk_bytes}
    for limit in (limit for limit, value in asked.items() if value is not None):
        yield _held(limit, held, False)
    yield from _space(campaign)


def _models(campaign: Campaign) -> Iterator[Check]:
    if not campaign.calls_a_model:
        return
    if campaign.kind != SCRIPTED:
        yield _raises("keys of its model APIs", lambda: required_keys(campaign))
    for model in (campaign.model, *campaign.models):
        yield _model(model, campaign.providers, False)
    limited = (campaign.budget, campaign.campaign_budget)
    if all(budget.usd is None and budget.tokens is None for budget in limited):
        yield Check(None, "no budget in dollars or tokens", "set budget: {usd: 20}, or model calls are stopped by time alone")


def _space(campaign: Campaign) -> Iterator[Check]:
    n, available = campaign.researchers, available_bytes()
    idle = n * IDLE_BYTES.get(campaign.kind, IDLE_BYTES["claude_code"]) + OTHER_BYTES
    words = (
        f"memory: {n} x {campaign.kind} need about {size(idle)} before they compute anything, {size(available)} are available"
    )
    yield Check(available > idle, words, "start fewer researchers, or use a larger machine")
    limits = campaign.limits
    if limits.memory_gib is not None and n * limits.memory_gib * GIB > available:
        words = f"memory: {n} x {limits.memory_gib:g} GiB that they may use are more than the {size(available)} available"
        yield Check(None, words, "if all used theirs at once the machine would run out: lower limits: {memory_gib: ...}")
    free = shutil.disk_usage(home().root if home().root.exists() else home().root.parent).free
    if limits.disk_gib is not None and n * limits.disk_gib * GIB > free:
        words = f"disk: {n} x {limits.disk_gib:g} GiB that they may use are more than the {size(free)} free"
        yield Check(None, words, "lower limits: {disk_gib: ...}")


def _raises(what: str, act: Callable[[], object]) -> Check:
    """Good if the act raises none of our errors, whose words are the remedy."""
    try:
        act()
    except AarError as error:
        return Check(False, what, str(error))
    return Check(True, what)
