"""A campaign: one strict record that is the flags, the YAML file and the saved file at once."""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import ConfigDict, Field

from aarlab.core.budget import Budget
from aarlab.core.errors import Misconfigured
from aarlab.core.layout import CampaignFolder
from aarlab.core.records import Record
from aarlab.core.settings import expanded
from aarlab.core.strict_yaml import read_record
from aarlab.evaluation.scoring.policies import DEFAULT_POLICY
from aarlab.gateway.config import Budgets, ModelServer
from aarlab.nodes.messages import NodeName
from aarlab.researchers.researcher import CommandTemplate, Options
from aarlab.runs.slurm_commands import SlurmOptions
from aarlab.sandbox.sandbox import GIB, Standing

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


CONFIRMING = {
    "confirm",
    "confirm_on_fresh",
    "confirm_on_pair",
    "transfer",
    "ablate_components",
}
RUNNING = {
    "budget",
    "campaign_budget",
    "limits",
    "devices",
    "stall_minutes",
    "providers",
    "model_api",
    "models",
    "max_turns",
    "hosts",
    "host_grace_minutes",
    "keep_home_minutes",
}
# later on
MAY_CHANGE = {
    "minutes",
    "experiments",
    "workers",
    "run_timeout_s",
    "engine",
    "slurm",
    "run_twice",
    "start_anyway",
    "store",
    "snapshots",
    *CONFIRMING,
    *RUNNING,
}
PROVIDERS = {
    "anthropic": "https://api.anthropic.com",
    "openai": "https://api.openai.com",
    "google": "https://generativelanguage.googleapis.com",
}


class ResearcherLimits(Record):
    """What one researcher's sandbox may use, all its processes together; null is no limit."""

    memory_gib: Annotated[float, Field(gt=0)] | None = 4.0
    pids: Annotated[int, Field(ge=16)] | None = 512
    cpus: Annotated[float, Field(gt=0)] | None = None
    disk_gib: Annotated[float, Field(gt=0)] | None = 10.0

    @property
    def standing(self) -> Standing:
        """As a sandbox takes them."""
        memory, disk = (
            None if gib is None else int(gib * GIB) for gib in (self.memory_gib, self.disk_gib)
        )
        return Standing(memory_bytes=memory, pids=self.pids, cpus=self.cpus, disk_bytes=disk)


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
    """Which problem (`aar problem list`), or your own: items (mine.jsonl), a Python file (mine.py)
    that registers one, or a folder with a problem.yaml."""
    data_seed: Annotated[int, Field(ge=0)] = 1
    """Draws pairs and splits. Hyper-parameters were chosen on seed 0: report on others."""
    student: str = "smollm2"
    """The strong model: smollm2 (frozen), a preset whose models are fine-tuned (qwen, or a YAML
    file), or double (tests)."""
    researchers: Annotated[int, Field(ge=1, le=256)] = 9
    """How many, each in a sandbox of its own."""
    kind: str = "search"
    """Kind of researcher: search, claude_code, command, scripted, or a Python file (mine.py) that
    registers one."""
    model: str = "claude-opus-4-6"
    """The language model of researchers that have one."""
    models: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Further models that the gateway lets through."""
    command: str | CommandTemplate | None = None
    """Kind `command`: a preset's name (claude, codex, gemini, opencode, mini-swe-agent), or argv,
    env and files of another agent CLI."""
    script: str | None = None
    """Kind `scripted`: the file that the model API plays; one that ships if not given."""
    max_turns: Annotated[int, Field(ge=1)] | None = None
    """Model turns of one incarnation of a researcher; then it is started again."""
    providers: dict[str, str] = Field(default_factory=lambda: dict(PROVIDERS))
    """Where model APIs are; each is used if its key is set: ANTHROPIC_API_KEY, OPENAI_API_KEY,
    GEMINI_API_KEY."""
    model_api: ModelServer | None = None
    """A model server of your own that has all of these models, in place of `providers`: base_url,
    prices (input, output: dollars for a million tokens, 0 where they cost you nothing),
    key_variable, certificates."""
    directed: bool = True
    """Each a different starting prompt (directed), or all the same."""
    directions: str | None = None
    """A YAML file of starting directions (beside the campaign's file); the nine that ship if not
    given. `aar directions` drafts one."""
    budget: Budget = Budget()
    """Of each researcher: hours, tokens, usd, cpu_hours, device_hours."""
    campaign_budget: Budget = Budget()
    """Of all of them together."""
    limits: ResearcherLimits = ResearcherLimits()
    """Of each researcher's sandbox: memory_gib, pids, cpus, disk_gib."""
    devices: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Device files that sandboxes see, such as /dev/nvidia0."""
    stall_minutes: Annotated[float, Field(gt=0)] = 30.0
    """A researcher that neither writes nor calls for so long is started again."""
    minutes: Annotated[float, Field(gt=0)] = 1.5
    """Wall-clock budget of the fleet; what was spent before an interruption counts."""
    experiments: Annotated[int, Field(ge=1)] = 40
    """How many experiments each researcher of kind `search` submits; others are held by budgets
    alone."""
    policy: str = DEFAULT_POLICY
    """What a submitter learns about a score, or a Python file (mine.py) that registers a policy;
    see `aar simulate` for what each costs honest researchers."""
    detectors: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Python files (mine.py) that register detectors of your own, beside those that ship."""
    mode: Literal["predictions", "code"] = "predictions"
    """What researchers submit: predictions, or code that is run for them on feedback items that
    they never see."""
    sandbox: Literal["bubblewrap", "docker", "directory"] = "bubblewrap"
    """`docker` needs an engine and an image (AAR_DOCKER_IMAGE). `directory` isolates nothing; the
    report says so."""
    confirm: Annotated[int, Field(ge=1, le=20)] = 3
    """How many of the leaders' snapshots are put to confirmation."""
    confirm_on_fresh: bool = True
    """Confirm on a fresh draw of the data as well (another data seed); reading it takes the student
    minutes, once."""
    confirm_on_pair: bool = True
    """Show what another teacher and another student make of the same data (MiniLM, 22 M parameters;
    83 MB once)."""
    transfer: Annotated[tuple[str, ...], Field(strict=False)] | None = None
    """Problems on which confirmed methods are shown as well, unseen; those that go with the problem
    if not given."""
    ablate_components: Annotated[int, Field(ge=0, le=16)] | None = None
    """How many components of the first confirmed method are taken out, one at a time, to be shown
    (0: none); each is run on final as the method was. If not given, 8, and none where the student
    is fine-tuned."""
    workers: Annotated[int, Field(ge=1)] = 2
    """Processes for features, baselines and confirmations."""
    engine: Literal["local", "ray", "slurm"] = "local"
    """Where runs are placed: on this machine, by the Ray cluster of RAY_ADDRESS, or by Slurm."""
    slurm: SlurmOptions = SlurmOptions()
    """Of engine=slurm, what sbatch gets: partition, account, minutes (of each worker), args."""
    run_twice: Annotated[float, Field(ge=0, le=1)] = 0.02
    """Share of the runs on a cluster that are run on another node as well, so that one that lies is
    found."""
    hosts: Annotated[tuple[NodeName, ...], Field(strict=False, max_length=256)] = ()
    """Where researchers run: names of nodes (`aar node list`), and `here` for this machine; on this
    machine alone if not given."""
    host_grace_minutes: Annotated[float, Field(ge=0.2, le=10_000)] = 5.0
    """A node that is not heard for so long is lost: its researchers go on elsewhere."""
    keep_home_minutes: Annotated[float, Field(ge=0.05, le=10_000)] = 5.0
    """So often the home of a researcher on a node is kept, besides at each incarnation's end; a
    researcher whose node is lost begins again from it."""
    run_timeout_s: Annotated[float, Field(gt=0)] | None = None
    """Limit of one baseline or confirmation run: two minutes if not given, twelve hours where the
    student is fine-tuned."""
    store: str | None = None
    """Where the ledger is: postgresql://USER@HOST:PORT/DATABASE, without a password (PGPASSWORD or
    PGPASSFILE); a file of the campaign's folder if not given."""
    snapshots: str | None = None
    """Where researchers' code is: s3://BUCKET/PREFIX, without keys (AWS_ACCESS_KEY_ID and so on); a
    folder of the campaign's if not given."""
    start_anyway: bool = False
    """Start although the anchors leave no gap, or the feedback items are too few for the policy;
    the report says so."""
    seed: int = 0
    """Of the researchers' own choices."""
    usd_per_researcher_hour: Annotated[float, Field(ge=0)] | None = None
    """What an hour of one researcher's machine costs you; unknown if not given."""
    usd_per_device_hour: Annotated[float, Field(ge=0)] | None = None
    """What an hour of one device (GPU) costs you, on which a student is fine-tuned; unknown if not
    given."""

    @property
    def in_folder(self) -> bool:
        """Whether its problem is one in a folder, with a grader of its author's."""
        # the package registers all problems, which takes a quarter of a second
        from aarlab.problems.folder.shipped_folders import is_folder_problem

        return is_folder_problem(self.problem)

    @property
    def out_of_time(self) -> str:
        """Why its fleet ends when its wall clock is spent."""
        return f"{self.minutes:g} minutes are spent"

    @property
    def limits_text(self) -> str:
        """Its wall clock and budgets, as text."""
        found = {"each": self.budget, "all": self.campaign_budget}
        limits = [
            f"{name} {value:g} for {whom}"
            for whom, budget in found.items()
            for name, value in budget.model_dump().items()
            if value is not None
        ]
        return "; ".join([f"{self.minutes:g} minutes", *limits])

    @property
    def budgets(self) -> Budgets:
        """What may be spent, as the gateway takes it."""
        return Budgets(researcher_budget=self.budget, campaign_budget=self.campaign_budget)

    @property
    def calls_a_model(self) -> bool:
        """Whether its researchers may: all but the built-in search."""
        return self.kind != "search"

    @property
    def whose(self) -> str:
        """Its researchers, as text."""
        named = f" ({self.command})" if isinstance(self.command, str) else ""
        return f"Researchers of kind {self.kind}{named if self.kind == 'command' else ''}"

    @property
    def options(self) -> Options:
        """What its kind of researcher is started with."""
        return Options(
            model=self.model, command=self.command, script=self.script, max_turns=self.max_turns
        )

    @property
    def transfers(self) -> tuple[str, ...]:
        """The transfer problems, defaults resolved."""
        return TRANSFER.get(self.problem, ()) if self.transfer is None else self.transfer

    def require_same(self, folder: Path) -> None:
        """Raise where a campaign of that name was begun otherwise.

        Raises:
            Misconfigured: what decides the results of a begun campaign may not change.
        """
        path = CampaignFolder(folder).settings
        if path.exists():
            begun = load(path)
            if changed := [
                f
                for f in Campaign.model_fields
                if f not in MAY_CHANGE and getattr(begun, f) != getattr(self, f)
            ]:
                words = ", ".join(f"{f}={getattr(begun, f)!r}" for f in changed)
                raise Misconfigured(
                    f"The campaign '{self.name}' was begun with {words}. Choose another name to "
                    "change that."
                )

    def save(self, folder: Path) -> None:
        """Write campaign.yaml; a campaign of that name that was begun otherwise is not written
        over.

        Raises:
            Misconfigured: see `require_same`.
        """
        self.require_same(folder)
        folder.mkdir(parents=True, exist_ok=True)
        CampaignFolder(folder).settings.write_text(
            yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)
        )


def load(path: Path) -> Campaign:
    """A campaign from its YAML file.

    Raises:
        Misconfigured: no such file, not YAML, or a field that is unknown or out of range (named in
            the message).
    """
    campaign = read_record(
        Campaign,
        path,
        remedy="Give the path of its YAML file.",
        what="the campaign",
        shape=lambda fields: {} if fields is None else fields,
    )
    return placed(campaign, path.resolve().parent)


def begun(campaigns: Path, name: str) -> Campaign:
    """The campaign of that name, as it was begun.

    Raises:
        Misconfigured: there is none; the message names those that there are.
    """
    path = CampaignFolder(campaigns / name).settings
    if not path.is_file():
        known = ", ".join(sorted(p.parent.name for p in campaigns.glob(f"*/{path.name}"))) or "none"
        raise Misconfigured(f"There is no campaign '{name}' under {campaigns}. There are: {known}.")
    return load(path)


def placed(campaign: Campaign, folder: Path) -> Campaign:
    """The same with the files that it names as absolute paths, seen from `folder`; so that it goes
    on from anywhere.

    Raises:
        Misconfigured: one of them is empty, or in a home folder that is not there.
    """
    named = {
        name: value
        for name in ("directions", "script")
        if (value := getattr(campaign, name)) is not None
    }
    # fields that may name one
    files = {
        "kind": ".py",
        "policy": ".py",
        "problem": (".jsonl", ".py"),
        "student": (".yaml", ".yml"),
    }
    named |= {
        name: value
        for name, ends in files.items()
        if (value := getattr(campaign, name)).endswith(ends)
    }
    if "/" in campaign.problem or (folder / campaign.problem).is_dir():
        named["problem"] = campaign.problem
    made = {name: str(folder / expanded(value, name)) for name, value in named.items()}
    detectors = tuple(str(folder / expanded(path, "detectors")) for path in campaign.detectors)
    return campaign.model_copy(update={**made, "detectors": detectors})
