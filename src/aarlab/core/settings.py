"""The only module that reads the environment."""

import os
from dataclasses import dataclass
from pathlib import Path

from aarlab.core.errors import Misconfigured


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


KEYS = {"anthropic": "ANTHROPIC_API_KEY", "openai": "OPENAI_API_KEY", "google": "GEMINI_API_KEY"}


def model_keys() -> dict[str, str]:
    """The keys of model APIs that are set, by provider. They are given to the gateway alone."""
    return {provider: os.environ[name] for provider, name in KEYS.items() if os.environ.get(name)}


def gateway_keys() -> dict[str, str]:
    """In the gateway's process: the keys that it was given, by provider (`AAR_KEY_ANTHROPIC`, ...)."""
    return {provider: os.environ[name] for provider in KEYS if os.environ.get(name := f"AAR_KEY_{provider.upper()}")}


def anthropic_url() -> str:
    """Where the Messages API is, for the operator's own calls: `ANTHROPIC_BASE_URL`, or the provider's."""
    return os.environ.get("ANTHROPIC_BASE_URL", "https://api.anthropic.com").rstrip("/")


def gate_socket() -> Path:
    """Inside a sandbox: where the lab answers, `AAR_GATE_SOCKET`."""
    return Path(os.environ.get("AAR_GATE_SOCKET", "/run/gate/lab.sock"))


def environment() -> dict[str, str]:
    """All of it, to be handed on to a child."""
    return dict(os.environ)


def docker_image() -> str:
    """The image over which docker's sandbox mounts the host's /usr: `AAR_DOCKER_IMAGE`, or Debian's smallest."""
    return os.environ.get("AAR_DOCKER_IMAGE", "debian:stable-slim")


def data_from() -> Path | None:
    """A folder laid out like the hub (DIR/<owner>/<name>/...) that is asked before it: `AAR_DATA_FROM`, or `--from DIR`.

    Raises:
        Misconfigured: there is no such folder.
    """
    found = os.environ.get("AAR_DATA_FROM")
    if found and not Path(found).is_dir():
        raise Misconfigured(f"There is no folder {found} to take files from. Correct --from DIR, or AAR_DATA_FROM.")
    return Path(found).resolve() if found else None


def set_data_from(folder: Path) -> None:
    """What `--from DIR` does: for this process and its children."""
    os.environ["AAR_DATA_FROM"] = str(folder.resolve())
