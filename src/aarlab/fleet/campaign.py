"""A campaign: one strict record that is the flags, the YAML file and the saved file at once."""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import ConfigDict, Field

from aarlab.core.errors import Misconfigured
from aarlab.core.records import Record, validated
from aarlab.evaluation.policies import DEFAULT_POLICY

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


CONFIRMING = {"confirm", "confirm_on_fresh", "confirm_on_pair", "transfer"}
MAY_CHANGE = {"minutes", "experiments", "workers", "run_timeout_s", *CONFIRMING}  # later on
TRANSFER = {"small-chat": ("small-math", "small-code"), "generated-chat": ("generated-checks",)}


class Campaign(Record):
    """A fleet of researchers on one problem, with budgets."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: Name = "demo"
    """Folder of the campaign under AAR_HOME/campaigns."""
    problem: str = "small-chat"
    """Which problem; see `aar doctor` for the list."""
    data_seed: Annotated[int, Field(ge=0)] = 1
    """Draws pairs and splits. Hyper-parameters were chosen on seed 0: report on others."""
    student: Literal["smollm2", "double"] = "smollm2"
    """The strong model: real weights, or the double that needs none (tests)."""
    researchers: Annotated[int, Field(ge=1, le=256)] = 9
    """How many, each in a sandbox of its own."""
    kind: str = "search"
    """Kind of researcher."""
    directed: bool = True
    """Each a different starting prompt (directed), or all the same."""
    minutes: Annotated[float, Field(gt=0)] = 1.5
    """Wall-clock budget of the fleet; what was spent before an interruption counts."""
    experiments: Annotated[int, Field(ge=1)] = 40
    """How many experiments each researcher may submit."""
    policy: str = DEFAULT_POLICY
    """What a submitter is told about a score; see `aar simulate` for what each costs and gives."""
    mode: Literal["predictions", "code"] = "predictions"
    """What researchers submit: predictions, or code that is run for them on feedback items that they never see."""
    sandbox: Literal["bubblewrap", "directory"] = "bubblewrap"
    """`directory` isolates nothing and must be asked for by name; the report says so."""
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
    run_timeout_s: Annotated[float, Field(gt=0)] = 120.0
    """Limit of one baseline or confirmation run."""
    seed: int = 0
    """Of the researchers' own choices."""
    usd_per_researcher_hour: Annotated[float, Field(ge=0)] | None = None
    """What an hour of one researcher's machine costs you; unknown if not given."""

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
    except (OSError, yaml.YAMLError) as error:
        raise Misconfigured(f"Cannot read the campaign {path}: {error}") from error
    return validated(Campaign, fields if fields is not None else {}, str(path))
