"""`task.toml` of a Harbor task, as far as it decides a problem. The format is public: its own
models are in the package `harbor` (`harbor.models.task.config`, schema 1.4); `[metadata.reward]` is
a convention of benchmarks of research tasks, with baselines and the best reward there can be.
"""

import math
import re
import tomllib
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from aarlab.core.errors import Misconfigured
from aarlab.core.plain_text import read_text
from aarlab.core.records import Record, validated

FILE_BYTES = 1 << 20
MIB_OF = {"K": 1 / 1024, "M": 1.0, "G": 1024.0}
Network = Literal["no-network", "public", "allowlist"]


class _Part(Record):
    """Fields that decide nothing here are passed over, and "120" is a number, as in Harbor."""

    model_config = ConfigDict(frozen=True, strict=False, extra="ignore", allow_inf_nan=False)


class MeasuredBaseline(_Part):
    """What a baseline was measured to have."""

    mean: float


class RewardSpec(_Part):
    """`[metadata.reward]`."""

    description: str = ""
    direction: Literal["higher_better", "lower_better"] = "higher_better"
    theoretical_best: float
    baseline_validation: MeasuredBaseline | None = None
    baseline_test: MeasuredBaseline | None = None


class Metadata(_Part):
    reward: RewardSpec | None = None


class Environment(_Part):
    """`[environment]`, or `[verifier.environment]`. `memory_mb` is in MiB."""

    docker_image: str | None = None
    os: str = "linux"
    cpus: Annotated[float | None, Field(gt=0)] = None
    memory_mb: Annotated[int | None, Field(gt=0)] = None
    gpus: Annotated[int | None, Field(ge=0)] = None
    tpu: Any = None
    network_mode: Network | None = None
    allow_internet: bool | None = None
    allowed_hosts: list[str] | None = None
    env: dict[str, str] = Field(default_factory=dict)
    workdir: str | None = None
    mcp_servers: list[Any] = Field(default_factory=list)

    @property
    def network(self) -> Network:
        """Which network there is; `allow_internet` is that of older versions."""
        return self.network_mode or ("no-network" if self.allow_internet is False else "public")

    @model_validator(mode="before")
    @classmethod
    def _older(cls, fields: Any) -> Any:
        """`memory = "2G"`, of older versions."""
        if isinstance(fields, dict) and isinstance(size := fields.get("memory"), str):
            if not (found := re.fullmatch(r"([0-9.]{1,9})\s*([KMG])", size.strip().upper())):
                raise ValueError("`memory` is no size such as '2G'")
            mib = max(1, int(float(found[1]) * MIB_OF[found[2]]))
            return {"memory_mb": mib} | fields
        return fields


class Agent(_Part):
    timeout_sec: Annotated[float | None, Field(gt=0)] = None


class Verifier(_Part):
    timeout_sec: Annotated[float, Field(gt=0)] = 600.0
    env: dict[str, str] = Field(default_factory=dict)
    environment_mode: Literal["shared", "separate"] | None = None
    environment: Environment | None = None
    collect: list[Any] = Field(default_factory=list)

    @model_validator(mode="after")
    def _fits(self) -> "Verifier":
        if self.environment_mode == "shared" and self.environment is not None:
            raise ValueError("`environment_mode` is shared, and there is an `environment`")
        return self


class Named(_Part):
    name: str


class TaskArtifact(_Part):
    """A path that goes from who works on the task to who grades it."""

    source: str
    destination: str | None = None
    exclude: list[str] = Field(default_factory=list)
    service: str | None = None

    @field_validator("source")
    @classmethod
    def _plain(cls, source: str) -> str:
        path = PurePosixPath(source)
        if ".." in path.parts or "\\" in source or not source.isprintable():
            raise ValueError(f"{source[:80]!a} must be a plain path without '..'")
        return source


class TaskFile(_Part):
    """The whole of it."""

    task: Named | None = None
    metadata: Metadata = Metadata()
    agent: Agent = Agent()
    verifier: Verifier = Verifier()
    environment: Environment = Environment()
    artifacts: list[TaskArtifact] = Field(default_factory=list)
    steps: list[Any] | None = None

    @field_validator("artifacts", mode="before")
    @classmethod
    def _texts(cls, found: Any) -> Any:
        if not isinstance(found, list):
            return found
        return [{"source": one} if isinstance(one, str) else one for one in found]

    @property
    def separate(self) -> bool:
        """Whether the tests run in a container of their own, which gets the artifacts alone."""
        mode = self.verifier.environment_mode
        return mode == "separate" or (mode is None and self.verifier.environment is not None)

    @property
    def of_tests(self) -> Environment:
        """The environment in which the tests run."""
        own = self.verifier.environment if self.separate else None
        return own or self.environment


def read_task_file(path: Path) -> TaskFile:
    """Read a task's settings.

    Raises:
        Misconfigured: it is too large, no TOML, or a field cannot be what it is; with its line.
    """
    if path.stat().st_size > FILE_BYTES:
        raise Misconfigured(f"{path} has more than {FILE_BYTES:,} bytes. Name a Harbor task.")
    text = read_text(path)
    try:
        fields = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        words = str(error) if isinstance(error, ValueError) else "it is nested too deeply"
        raise Misconfigured(f"{path} is not valid TOML: {words}. Correct it.") from error
    found = validated(TaskFile, fields, str(path), lambda loc: line_of(text, loc))
    if reward := found.metadata.reward:
        _require_gap(reward, path, text)
    return found


def _require_gap(reward: RewardSpec, path: Path, text: str) -> None:
    for name in ("baseline_validation", "baseline_test"):
        measured = getattr(reward, name)
        better = math.copysign(1, 1 if reward.direction == "higher_better" else -1)
        if measured and (reward.theoretical_best - measured.mean) * better <= 0:
            line = line_of(text, ("metadata", "reward", name))
            raise Misconfigured(
                f"{path}: metadata.reward.{name} (line {line}): its mean, {measured.mean:g}, is "
                f"not worse than theoretical_best, {reward.theoretical_best:g}, with direction "
                f"{reward.direction}. Correct one of them."
            )


def line_of(text: str, loc: tuple[int | str, ...]) -> int | None:
    """The line, from 1, at which the key at that place stands; of the nearest one above it where it
    is in an inline table."""
    names = [str(step) for step in loc if isinstance(step, str)]
    table: list[str] = []
    best, found = 0, None
    for number, line in enumerate(text.splitlines(), 1):
        if head := re.match(r"\s*\[\[?\s*([^\]]+?)\s*\]", line):
            table = [part.strip(" \"'") for part in head[1].split(".")]
            at = table
        elif key := re.match(r"\s*([A-Za-z0-9_.\"'-]+)\s*=", line):
            at = [*table, *(part.strip("\"'") for part in key[1].split("."))]
        else:
            continue
        if len(at) > best and at == names[: len(at)]:
            best, found = len(at), number
    return found
