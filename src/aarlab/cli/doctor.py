"""`aar doctor`: check this machine for the demo, for fleets of language-model agents, and for
one campaign."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from aarlab.core.amounts import size
from aarlab.core.errors import AarError, Misconfigured
from aarlab.core.layout import TestbedFolder
from aarlab.core.printable import one_line
from aarlab.core.settings import KEYS, home, model_keys
from aarlab.fleet import preflight
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.model_access import SCRIPTED, required_keys, spoken_by
from aarlab.fleet.preflight import IDLE_BYTES
from aarlab.gateway.config import GatewayConfig, Provider
from aarlab.gateway.pricing import prices
from aarlab.problems import PROBLEMS
from aarlab.problems.length_control import length_control
from aarlab.problems.publish import read_private_items
from aarlab.researchers.command import TESTED, Command
from aarlab.researchers.program_files import program_files
from aarlab.sandbox import SANDBOXES
from aarlab.sandbox.bubblewrap import REMEDY, Bubblewrap, probe
from aarlab.sandbox.processes import LIMITED
from aarlab.sandbox.sandbox import GIB, Completed, Limits, SandboxSpec

NEEDED_BYTES = 3 << 30
OTHER_BYTES = 1 << 30  # the server, the gateway, the supervisor, the engine's workers
HAVE_VERSION = {"claude", "codex", "gemini", "opencode"}  # presets whose programs have --version
ASK_S = 20.0


class Check(NamedTuple):
    """`good` is True (passed), False (failed) or None (optional; worth knowing)."""

    good: bool | None
    what: str
    remedy: str = ""


def examine(
    console: Console,
    campaign: Campaign | None = None,
    more: Mapping[str, Iterable[Check]] | None = None,
) -> bool:
    """Print one line for each check. True if no check fails for the demo, the given campaign and
    `more`."""
    good = True
    groups = {"demo": demo(), "fleets of agents": agents()} | (
        {} if campaign is None else {campaign.name: needs(campaign)}
    )
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


# --- the demo -------------------------------------------------------------------------------------


def demo() -> Iterator[Check]:
    """Checks of what the demo needs."""
    root = home().root
    free, _ = preflight.disk_free()
    missing = [
        name
        for name in ("torch", "transformers", "gguf", "accelerate")
        if importlib.util.find_spec(name) is None
    ]
    words = probe()
    yield Check(
        sys.version_info >= (3, 11),
        f"Python {sys.version.split()[0]}",
        "install Python 3.11 or newer",
    )
    yield Check(
        not missing,
        "packages for the real student",
        f"pip install 'aarlab[models]' (missing: {', '.join(missing)})",
    )
    yield Check(words is None, "sandbox: bubblewrap", f"{words}. {REMEDY}")
    yield Check(
        os.geteuid() != 0 or shutil.which("setpriv") is not None,
        "setpriv (as root)",
        "install util-linux",
    )
    yield Check(
        free > NEEDED_BYTES,
        f"disk: {size(free)} free for {root}",
        "free 3 GB, or set AAR_HOME elsewhere",
    )
    for what, act in preflight.machine():
        yield _raises(what, act)
    if words is None:
        yield python_inside()


def python_inside() -> Check:
    """Check that this Python, with this package, runs inside a sandbox."""
    with closing(Bubblewrap(SandboxSpec(name="doctor", mounts=()))) as sandbox:
        done = sandbox.exec(
            [sys.executable, "-c", "import aarlab.researchers.inside"], Limits(timeout_s=ASK_S)
        )
    remedy = (
        f"{done.output.strip()[-300:]}. Move the interpreter and its environment to a folder that "
        "other users can read."
    )
    return Check(done.returncode == 0, "sandbox: this Python runs inside", remedy)


# --- fleets of agents -----------------------------------------------------------------------------


def agents() -> Iterator[Check]:
    """Checks of what fleets of language-model agents need; the demo needs none of it."""
    held = Bubblewrap.limits_held()
    for limit in LIMITED:
        yield _held(limit, held, None)
    yield claude_code()
    for provider, name in KEYS.items():
        found = provider in model_keys()
        what = (
            f"key of {provider}: {name} is "
            f"{'set (only the gateway reads it)' if found else 'not set'}"
        )
        yield Check(
            True if found else None, what, f"researchers that call {provider}'s models need it"
        )
    yield _model(Campaign().model, Campaign().providers, None)
    yield docker()
    yield Check(
        True,
        f"memory: {size(available_bytes())} available, enough for about {room('claude_code')} "
        "Claude Code idle",
    )


def _held(limit: str, held: dict[str, str], lacking: bool | None) -> Check:
    if limit in held:
        return Check(True, f"limit on {limit}: {held[limit]}")
    return Check(
        lacking,
        f"limit on {limit}: not enforced here",
        "run as root, under systemd, or where cgroups can be created",
    )


def claude_code() -> Check:
    """The CLI that comes with claude-agent-sdk, and its version."""
    spec = importlib.util.find_spec("claude_agent_sdk")
    remedy = "pip install 'aarlab[claude]'"
    if spec is None or spec.origin is None:
        return Check(None, "Claude Code: not installed", remedy)
    program = Path(spec.origin).parent / "_bundled" / "claude"
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=ASK_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check(None, f"Claude Code: {program} does not run ({error})", remedy)
    version = re.match(r"[0-9.]+", done.stdout)
    if version is None:
        return Check(None, f"Claude Code: {program} does not print its version", remedy)
    return Check(True, f"Claude Code {version[0]}")


def docker() -> Check:
    """Check the docker engine, which only sandbox=docker needs."""
    program = shutil.which("docker")
    if program is None:
        return Check(None, "docker: no engine here", "only sandbox=docker needs one")
    try:
        asked = [program, "info", "--format", "{{.ServerVersion}}"]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=ASK_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check(
            None, f"docker: the engine does not answer ({error})", "only sandbox=docker needs one"
        )
    if done.returncode != 0:
        return Check(
            None, f"docker: {done.stderr.strip()[:200]}", "only sandbox=docker needs an engine"
        )
    return Check(True, f"docker: engine {done.stdout.strip()}")


def _model(model: str, providers: dict[str, str], lacking: bool | None) -> Check:
    """Check that the gateway knows the model's price, so that it can enforce a budget in
    dollars."""
    listed = tuple(
        Provider.model_validate({"name": name, "url": url}) for name, url in providers.items()
    )
    try:
        price = next(iter(prices(GatewayConfig(models=(model,), providers=listed)).values()))
    except AarError as error:
        return Check(lacking, f"price of {model}", str(error))
    million = 1_000_000
    dollars = price.usd(input_tokens=million), price.usd(output_tokens=million)
    return Check(
        True, f"price of {model}: ${dollars[0]:.2f} in, ${dollars[1]:.2f} out for a million tokens"
    )


def available_bytes() -> int:
    """Memory that is available now, in bytes (MemAvailable of /proc/meminfo)."""
    rows = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(rows["MemAvailable"].split()[0]) << 10


def room(kind: str) -> int:
    """Number of idle researchers of a kind that fit into the available memory."""
    return max(0, available_bytes() - OTHER_BYTES) // IDLE_BYTES.get(
        kind, IDLE_BYTES["claude_code"]
    )


# --- one campaign ---------------------------------------------------------------------------------


def needs(campaign: Campaign) -> Iterator[Check]:
    """Checks of what this campaign needs."""
    for what, act in preflight.checks(campaign):
        yield _raises(what, act)
    if campaign.kind == "command":
        yield from _agent(campaign)
    yield from _models(campaign)
    yield from _lengths(campaign)
    for device in campaign.devices:
        yield Check(
            Path(device).exists(),
            f"device {device}",
            "install its driver, or leave it out of `devices`",
        )
    held = SANDBOXES[campaign.sandbox].limits_held()
    standing = campaign.limits.standing
    asked = {
        "memory": standing.memory_bytes,
        "pids": standing.pids,
        "cpus": standing.cpus,
        "disk": standing.disk_bytes,
    }
    for limit in (limit for limit, value in asked.items() if value is not None):
        yield _held(limit, held, False)
    yield from _space(campaign)


def _agent(campaign: Campaign) -> Iterator[Check]:
    """Check that the program of kind `command` starts inside a sandbox, and note where its version
    is not the one that its preset was tested with."""
    command = Command(campaign.options)
    try:
        command.require()
        said = version_inside(command, asks=campaign.command in HAVE_VERSION)
    except AarError:
        return  # what is missing was said before
    program = command.template.argv[0]
    yield Check(
        said.returncode == 0,
        f"{program}: starts in the sandbox",
        f"{said.output.strip()[-300:]}. Name all paths that it reads in `programs` of the command",
    )
    tested = TESTED.get(campaign.command) if isinstance(campaign.command, str) else None
    asked = campaign.command in HAVE_VERSION and said.returncode == 0
    if asked and tested is not None and tested.version not in said.output:
        yield Check(
            None,
            f"{program}: version {one_line(said.output, 60)}",
            f"the preset was tested with {tested.version}; another version may refuse its settings",
        )


def version_inside(command: Command, *, asks: bool) -> Completed:
    """What the program of a kind `command` prints for --version, inside a sandbox with its paths;
    where it is not to be asked, whether it is there."""
    program = program_files(command.template.argv[0])
    assert program is not None
    there = ["/bin/sh", "-c", 'for file; do test -x "$file" || exit 1; done', "sh"]
    argv = [*program.argv, "--version"] if asks else [*there, program.argv[0]]
    with closing(Bubblewrap(SandboxSpec("doctor", command.mounts(), {"HOME": "/tmp"}))) as sandbox:
        # Node and Bun map more address space than they use
        return sandbox.exec(argv, Limits(timeout_s=ASK_S, memory_bytes=256 * GIB))


def _models(campaign: Campaign) -> Iterator[Check]:
    if not campaign.calls_a_model:
        return
    if campaign.model_api is not None:  # `preflight.checks` has asked the server
        yield from _unlimited(campaign)
        return
    if campaign.kind != SCRIPTED:
        yield _raises("keys of its model APIs", lambda: required_keys(campaign))
    speaks = spoken_by(campaign)
    places = {n: url for n, url in campaign.providers.items() if speaks in (None, n)}
    for model in (campaign.model, *campaign.models):
        yield _model(model, places, False)
    yield from _unlimited(campaign)


def _unlimited(campaign: Campaign) -> Iterator[Check]:
    limited = (campaign.budget, campaign.campaign_budget)
    if all(budget.usd is None and budget.tokens is None for budget in limited):
        yield Check(
            None,
            "no budget in dollars or tokens",
            "set budget: {usd: 20}; otherwise only the time limit stops model calls",
        )


def _lengths(campaign: Campaign) -> Iterator[Check]:
    """Whether length alone predicts the labels of its testbed, split by split; nothing before it
    is set up."""
    if campaign.in_folder:
        return
    try:
        problem = PROBLEMS[campaign.problem]
    except Misconfigured:  # a check of its own says so
        return
    pattern = f"{problem.name}-v{problem.version}-*-seed{campaign.data_seed}*"
    beds = [f for f in sorted(home().problems.glob(pattern)) if TestbedFolder(f).items.exists()]
    for row in length_control(read_private_items(beds[-1])) if beds else ():
        yield Check(
            None if row.is_shortcut else True,
            f"length control, {row}",
            "length is a shortcut there: read figures of this part beside it",
        )


def _space(campaign: Campaign) -> Iterator[Check]:
    n, available = campaign.researchers, available_bytes()
    idle = n * IDLE_BYTES.get(campaign.kind, IDLE_BYTES["claude_code"]) + OTHER_BYTES
    words = (
        f"memory: {n} x {campaign.kind} need about {size(idle)} when idle, {size(available)} are "
        "available"
    )
    yield Check(available > idle, words, "start fewer researchers, or use a larger machine")
    limits = campaign.limits
    if limits.memory_gib is not None and n * limits.memory_gib * GIB > available:
        words = (
            f"memory: the limit of {n} x {limits.memory_gib:g} GiB exceeds the {size(available)} "
            "available"
        )
        yield Check(
            None, words, "lower limits: {memory_gib: ...}, or the machine may run out of memory"
        )
    if words := preflight.overcommitted(campaign):
        yield Check(None, words, "lower limits: {disk_gib: ...}")


def _raises(what: str, act: Callable[[], object]) -> Check:
    """Passed if `act` raises no AarError; otherwise the error's message is the remedy."""
    try:
        act()
    except AarError as error:
        return Check(False, what, str(error))
    return Check(True, what)
