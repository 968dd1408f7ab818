"""The only module that reads the environment."""

import os
import re
from functools import cache
from pathlib import Path

from aarlab.core.errors import Misconfigured
from aarlab.core.layout import Home as Home


def home() -> Home:
    """The state folder of this process, absolute: `AAR_HOME`; where that is not set, or empty, the
    nearest folder `.aar` of this user in the working directory or above it; else `aar` in the
    user's data folder (`XDG_DATA_HOME`, by default ~/.local/share).

    Raises:
        Misconfigured: a variable names no folder, or the working directory was removed.
    """
    try:
        return Home(_root())
    except FileNotFoundError as error:
        raise Misconfigured("The working directory was removed. Change to another one.") from error


def _root() -> Path:
    if said := _said("AAR_HOME"):
        return expanded(said, "AAR_HOME").resolve()
    said = _said("XDG_DATA_HOME")
    what = "XDG_DATA_HOME" if said else "the state folder, as AAR_HOME is not set,"
    data = expanded(said or "~/.local/share", what)
    return _nearest(Path.cwd()) or (data / "aar").resolve()


@cache
def _nearest(folder: Path) -> Path | None:
    """The first `.aar` of this user in a folder or above it, as it was at the first look."""
    for found in (place / ".aar" for place in (folder, *folder.parents)):
        if found.is_dir() and found.stat().st_uid == os.geteuid():
            return found
    return None


def expanded(path: str | Path, what: str) -> Path:
    """The path that a setting names; `~` is the home folder, as a shell has it. `what`: the
    setting's name, as text.

    Raises:
        Misconfigured: it is empty or holds a NUL character, or there is no such home folder.
    """
    words = str(path)
    if not words.strip() or "\0" in words:
        raise Misconfigured(f"{what} is {words!r:.60}, no path. Give a path, or leave it out.")
    try:
        words.encode()
        return Path(path).expanduser()
    except UnicodeEncodeError as error:
        raise Misconfigured(f"{what} is {words!a:.200}, no UTF-8. Rename it.") from error
    except RuntimeError as error:
        raise Misconfigured(
            f"{what} is {words!r:.200}: there is no such home folder. Write the whole path."
        ) from error


def _said(name: str) -> str:
    """A variable's value, stripped; a variable that is empty counts as one that is not set."""
    return os.environ.get(name, "").strip()


def hub_reachable_by_choice() -> bool:
    """False when the operator set `HF_HUB_OFFLINE=1`: then weights come from the package index
    without asking the hub."""
    return os.environ.get("HF_HUB_OFFLINE", "0") not in {"1", "true", "TRUE"}


KEYS = {"anthropic": "ANTHROPIC_API_KEY", "openai": "OPENAI_API_KEY", "google": "GEMINI_API_KEY"}


def model_keys() -> dict[str, str]:
    """The keys of model APIs that are set, by provider. They are given to the gateway alone."""
    return {provider: key for provider, name in KEYS.items() if (key := _said(name))}


def key_named(variable: str) -> str:
    """The key in an environment variable that the operator named; "" where it is not set."""
    return _said(variable)


def gateway_keys() -> dict[str, str]:
    """In the gateway's process: the keys that it was given, by provider (`AAR_KEY_ANTHROPIC`,
    ...)."""
    return {
        provider: os.environ[name]
        for provider in KEYS
        if os.environ.get(name := f"AAR_KEY_{provider.upper()}")
    }


def anthropic_url() -> str:
    """Where the Messages API is, for the operator's own calls: `ANTHROPIC_BASE_URL`, or the
    provider's."""
    return (_said("ANTHROPIC_BASE_URL") or "https://api.anthropic.com").rstrip("/")


def gate_socket() -> Path:
    """Inside a sandbox: where the lab answers, `AAR_GATE_SOCKET`."""
    return expanded(_said("AAR_GATE_SOCKET") or "/run/gate/lab.sock", "AAR_GATE_SOCKET")


def environment() -> dict[str, str]:
    """All of it, to be handed on to a child."""
    return dict(os.environ)


def http_allowed() -> bool:
    """Whether an S3 server may be asked without TLS: `AWS_ALLOW_HTTP`, as the S3 client has it."""
    return _said("AWS_ALLOW_HTTP").lower() in {"1", "true"}


_S3_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_S3_ROLES = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_METADATA_ENDPOINT",
    "AWS_SKIP_SIGNATURE",
)


def lacking_s3_keys() -> tuple[str, ...]:
    """The variables that an S3 client needs and that are not set; none where a role of the machine
    stands for them. Without any, the client asks the network for a role (169.254.169.254)."""
    if any(_said(name) for name in _S3_ROLES):
        return ()
    return tuple(name for name in _S3_KEYS if not _said(name))


def ray_address() -> str:
    """Where the head of the Ray cluster is: `RAY_ADDRESS`.

    Raises:
        Misconfigured: it is not set, or no HOST:PORT.
    """
    said = _said("RAY_ADDRESS")
    host, _, port = said.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise Misconfigured(
            f"RAY_ADDRESS is {said!r:.80}. Set it to HOST:PORT of the cluster's head, which "
            "`ray start --head` prints."
        )
    return said


def ray_is_named() -> bool:
    """Whether RAY_ADDRESS is set."""
    return bool(_said("RAY_ADDRESS"))


def ray_environment() -> dict[str, str]:
    """Of the process that joins a Ray cluster: always with token authentication. It ends half a
    minute after the cluster's head, unless the operator says otherwise."""
    wait = {"RAY_gcs_rpc_server_reconnect_timeout_s": "30"}
    always = {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
    return wait | environment() | always


def without_ray_token() -> dict[str, str]:
    """Of one that comes to a Ray cluster without a token."""
    secret = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}
    kept = {name: value for name, value in os.environ.items() if name not in secret}
    return kept | {"RAY_AUTH_MODE": "disabled"}


def slurm_environment() -> dict[str, str]:
    """Of Slurm's commands: where Slurm is, the operator's defaults for sbatch, and who the operator
    is. No key of a model or a store goes along."""
    named = {"PATH", "HOME", "USER", "LOGNAME", "LANG", "SLURM_CONF", "SLURM_CONF_SERVER"}
    named |= {"SLURM_CLUSTERS", "SLURM_JWT"}
    return {n: v for n, v in os.environ.items() if n in named or n.startswith("SBATCH_")}


def slurm_task() -> str:
    """In a task of an array of Slurm: its name there, JOB_TASK.

    Raises:
        Misconfigured: this process is none.
    """
    job, task = _said("SLURM_ARRAY_JOB_ID"), _said("SLURM_ARRAY_TASK_ID")
    if not (job.isdecimal() and task.isdecimal()):
        raise Misconfigured("This is no task of an array in Slurm. `engine: slurm` starts it.")
    return f"{job}_{task}"


def slurm_node() -> str:
    """In a task of Slurm: its node's name there."""
    return _said("SLURMD_NODENAME")


def visible_gpus() -> str:
    """Which GPUs the scheduler gave this process, as a part of a file's name; "" if it said
    nothing."""
    return re.sub(r"[^A-Za-z0-9,-]", "-", _said("CUDA_VISIBLE_DEVICES"))[:100]


def docker_image() -> str:
    """The image over which docker's sandbox mounts the host's /usr: `AAR_DOCKER_IMAGE`, or Debian's
    smallest."""
    return _said("AAR_DOCKER_IMAGE") or "debian:stable-slim"


def disk_reserve() -> int | None:
    """Bytes of the host's disk that sandboxes must leave: `AAR_DISK_RESERVE_GIB`; None where it is
    not set.

    Raises:
        Misconfigured: it is no number of GiB.
    """
    if not (said := _said("AAR_DISK_RESERVE_GIB")):
        return None
    try:
        found = float(said)
    except ValueError:
        found = -1.0
    if not 0 <= found < 1 << 20:
        raise Misconfigured(
            f"AAR_DISK_RESERVE_GIB is {said!r}. Set it to a number of GiB, 0 or more."
        )
    return int(found * (1 << 30))


def data_from() -> Path | None:
    """A folder laid out like the hub (DIR/<owner>/<name>/...) that is asked before it:
    `AAR_DATA_FROM`, or `--from DIR`.

    Raises:
        Misconfigured: there is no such folder.
    """
    if not (said := _said("AAR_DATA_FROM")):
        return None
    found = expanded(said, "AAR_DATA_FROM")
    if not found.is_dir():
        raise Misconfigured(
            f"There is no folder {found} to take files from. Correct --from DIR, or AAR_DATA_FROM."
        )
    return found.resolve()


def set_data_from(folder: Path) -> None:
    """What `--from DIR` does: for this process and its children."""
    os.environ["AAR_DATA_FROM"] = str(expanded(folder, "--from").resolve())
