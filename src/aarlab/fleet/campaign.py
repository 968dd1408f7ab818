"""A campaign: one strict record that is the flags, the YAML file and the saved file at once."""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import ConfigDict, Field

from aarlab.core.budget import Budget
from aarlab.core.errors import Misconfigured
from aarlab.core.records import Record, validated
from aarlab.evaluation.policies import DEFAULT_POLICY
from aarlab.researchers.researcher import CommandTemplate, Options
from aarlab.sandbox.sandbox import GIB, Standing

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


CONFIRMING = {"confirm", "confirm_on_fresh", "confirm_on_pair", "transfer"}
RUNNING = {"budget", "campaign_budget", "limits", "devices", "stall_minutes", "providers", "models", "max_turns"}
MAY_CHANGE = {"minutes", "experiments", "workers", "run_timeout_s", *CONFIRMING, *RUNNING}  # later on
PROVIDERS = {
    "anthropic": "https://api.anthropic.com",
    "openai": "https://api.openai.com",
    "google": "https://generativelanguage.googleapis.com",
}


class Limits(Record):
    """What one researcher's sandbox may use, all its processes together; null is no limit."""

    memory_gib: Annotated[float, Field(gt=0)] | None = 4.0
    pids: Annotated[int, Field(ge=16)] | None = 512
    cpus: Annotated[float, Field(gt=0)] | None = None
    disk_gib: Annotated[float, Field(gt=0)] | None = 10.0

    @property
    def standing(self) -> Standing:
        """As a sandbox takes them."""
        memory, disk = (None if gib is None else int(gib * GIB) for gib in (self.memory_gib, self.disk_gib))
        return Standing(memory_bytes=memory, pids=self.pids, cpus=self.cpus, disk_bytes=disk)


FROZEN_RUN_S, TUNED_RUN_S = 120.0, 12 * 3600.0
TRANSFER = {
    "small-chat": ("small-math", "small-code"),
    "generated-chat": ("generated-checks",),
    "qwen-chat": ("qwen-math", "qwen-code"),
}


class Campaign(Record):
    """A fleet of researchers on one problem, with budgets."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: Name = "demo"
    """Folder of the campaign under AAR_HOME/campaigns."""
    problem: str = "small-chat"
    """Which problem; see `aar doctor` for the list."""
    data_seed: Annotated[int, Field(ge=0)] = 1
    """Draws pairs and splits. Hyper-parameters were chosen on seed 0: report on others."""
    student: str = "smollm2"
    """The strong model: smollm2 (frozen), a preset whose models are fine-tuned (qwen, or a YAML file), or double (tests)."""
    researchers: Annotated[int, Field(ge=1, le=256)] = 9
    """How many, each in a sandbox of its own."""
    kind: str = "search"
    """Kind of researcher: search, claude_code, command, scripted, or a Python file (mine.py) that registers one."""
    model: str = "claude-opus-4-6"
    """The language model of researchers that have one."""
    models: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Further models that the gateway lets through."""
    command: str | CommandTemplate | None = None
    """Kind `command`: a preset's name (claude, codex, gemini), or argv, env and files of another agent CLI."""
    script: str | None = None
    """Kind `scripted`: the file that the model API plays; one that ships if not given."""
    max_turns: Annotated[int, Field(ge=1)] | None = None
    """Model turns of one life of a researcher; then it is started again."""
    providers: dict[str, str] = Field(default_factory=lambda: dict(PROVIDERS))
    """Where model APIs are; each is used if its key is set: ANTHROPIC_API_KEY, OPENAI_API_KEY, GEMINI_API_KEY."""
    directed: bool = True
    """Each a different starting prompt (directed), or all the same."""
    directions: str | None = None
    """A YAML file of starting directions (beside the campaign's file); the nine that ship if not given. `aar directions`
    drafts one."""
    budget: Budget = Budget()
    """Of each researcher: hours, tokens, usd, cpu_hours."""
    campaign_budget: Budget = Budget()
    """Of all of them together."""
    limits: Limits = Limits()
    """Of each researcher's sandbox: memory_gib, pids, cpus, disk_gib."""
    devices: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Device files that sandboxes see, such as /dev/nvidia0."""
    stall_minutes: Annotated[float, Field(gt=0)] = 30.0
    """A researcher that neither writes nor calls for so long is started again."""
    minutes: Annotated[float, Field(gt=0)] = 1.5
    """Wall-clock budget of the fleet; what was spent before an interruption counts."""
    experiments: Annotated[int, Field(ge=1)] = 40
    """How many experiments each researcher of kind `search` submits; others are held by budgets alone."""
    policy: str = DEFAULT_POLICY
    """What a submitter is told about a score; see `aar simulate` for what each costs and gives."""
    mode: Literal["predictions", "code"] = "predictions"
    """What researchers submit: predictions, or code that is run for them on feedback items that they never see."""
    sandbox: Literal["bubblewrap", "docker", "directory"] = "bubblewrap"
    """`docker` needs an engine and an image (AAR_DOCKER_IMAGE). `directory` isolates nothing; the report says so."""
    confirm: Annotated[int, Field(ge=1, le=20)] = 3
    """How many of the leaders' snapshots are put to confirmation."""
    confirm_on_fresh: bool = True
    """Confirm on a fresh draw of the data as well (another data seed); reading it takes the student minutes, once."""
    confirm_on_pair: bool = True
    """Show what another teacher and another student make of the same data (MiniLM, 22 M parameters; 83 MB once)."""
    transfer: Annotated[tuple[str, ...], Field(strict=False)] | None = None
    """Problems on which confirmed methods are shown as well, unseen; those that go with the problem if not given."""
    workers: Annotated[int, Field(ge=1)] = 2
    """Processes for features, baselines and confirmations."""
    run_timeout_s: Annotated[float, Field(gt=0)] | None = None
    """Limit of one baseline or confirmation run: two minutes if not given, twelve hours where the student is fine-tuned."""
    seed: int = 0
    """Of the researchers' own choices."""
    usd_per_researcher_hour: Annotated[float, Field(ge=0)] | None = None
    """What an hour of one researcher's machine costs you; unknown if not given."""

    @property
    def out_of_time(self) -> str:
        """Why its fleet ends when its wall clock is spent."""
        return f"{self.minutes:g} minutes are spent"

    @property
    def timeout_s(self) -> float:
        """Of a run, the default resolved."""
        from aarlab.models.preset import FROZEN

        default_s = FROZEN_RUN_S if self.student in FROZEN else TUNED_RUN_S
        return default_s if self.run_timeout_s is None else self.run_timeout_s

    @property
    def calls_a_model(self) -> bool:
        """Whether its researchers may: all but the built-in search."""
        return self.kind != "search"

    @property
    def options(self) -> Options:
        """What its kind of researcher is told."""
        return Options(model=self.model, command=self.command, script=self.script, max_turns=self.max_turns)

    @property
    def transfers(self) -> tuple[str, ...]:
        """The transfer problems, defaults resolved."""
        return TRANSFER.get(self.problem, ()) if self.transfer is None else self.transfer

    def save(self, folder: Path) -> None:
        """Write campaign.yaml; a campaign of that name that was begun otherwise is not written over.

        Raises:
            Misconfigured: what decides the results of a begun campaign may not change.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "campaign.yaml").exists():
            begun = load(folder / "campaign.yaml")
            if changed := [f for f in Campaign.model_fields if f not in MAY_CHANGE and getattr(begun, f) != getattr(self, f)]:
                words = ", ".join(f"{f}={getattr(begun, f)!r}" for f in changed)
                raise Misconfigured(f"The campaign '{self.name}' was begun with {words}. Choose another name to change that.")
        (folder / "campaign.yaml").write_text(yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False))


def load(path: Path) -> Campaign:
    """A campaign from its YAML file.

    Raises:
        Misconfigured: no such file, not YAML, or a field that is unknown or out of range (named in the message).
    """
    try:
        fields = yaml.safe_load(path.read_text())
    except OSError as error:
        raise Misconfigured(f"Cannot read the campaign {path}: {error.strerror}. Give the path of its YAML file.") from error
    except yaml.YAMLError as error:
        raise Misconfigured(f"The campaign {path} is not YAML: {error}") from error
    return placed(validated(Campaign, fields if fields is not None else {}, str(path)), path.resolve().parent)


def begun(campaigns: Path, name: str) -> Campaign:
    """The campaign of that name, as it was begun.

    Raises:
        Misconfigured: there is none; the message names those that there are.
    """
    if not (campaigns / name / "campaign.yaml").is_file():
        known = ", ".join(sorted(p.parent.name for p in campaigns.glob("*/campaign.yaml"))) or "none"
        raise Misconfigured(f"There is no campaign '{name}' under {campaigns}. There are: {known}.")
    return load(campaigns / name / "campaign.yaml")


def placed(campaign: Campaign, folder: Path) -> Campaign:
    """The same with the files that it names as absolute paths, seen from `folder`; so that it goes on from anywhere."""
    named = {name: value for name in ("directions", "script") if (value := getattr(campaign, name)) is not None}
    files = {"kind": ".py", "problem": ".jsonl", "student": (".yaml", ".yml")}  # fields that may name one
    named |= {name: value for name, ends in files.items() if (value := getattr(campaign, name)).endswith(ends)}
    return campaign.model_copy(update={name: str(folder / Path(value).expanduser()) for name, value in named.items()})
