"""The only module that reads the environment."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """Where all state lives: one folder, `AAR_HOME`, by default `.aar` in the working directory."""

    root: Path

    @property
    def cache(self) -> Path:
        """Downloads, the student's weights and hidden states: re-creatable, shared by campaigns."""
        return self.root / "cache"

    @property
    def problems(self) -> Path:
        """One folder a published problem, each with `public/` and `private/`."""
        return self.root / "problems"

    @property
    def campaigns(self) -> Path:
        """One folder a campaign: its specification, ledger, snapshots, researchers' work and report."""
        return self.root / "campaigns"


def home() -> Home:
    """The state folder of this process, absolute."""
    return Home(Path(os.environ.get("AAR_HOME", ".aar")).resolve())


def hub_reachable_by_choice() -> bool:
    """False when the operator set `HF_HUB_OFFLINE=1`: then weights come from the package index without asking the hub."""
    return os.environ.get("HF_HUB_OFFLINE", "0") not in {"1", "true", "TRUE"}
