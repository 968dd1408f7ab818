"""What places the runs of a campaign or a bench: this process, a Ray cluster, or Slurm."""

from collections.abc import Callable
from typing import Literal, Protocol

from aarlab.core.settings import Home, ray_address
from aarlab.runs.engine_contract import DeviceEngine, Engine
from aarlab.runs.engine_note import Notes
from aarlab.runs.sampled_engine import NodeEngine, SampledEngine
from aarlab.runs.shared_engine import SharedEngine
from aarlab.runs.slurm_commands import SlurmOptions
from aarlab.sandbox import SANDBOXES

EngineName = Literal["local", "ray", "slurm"]


class Placement(Protocol):
    """Says where runs are placed: `Campaign`, and `Bench`."""

    @property
    def engine(self) -> EngineName: ...

    @property
    def slurm(self) -> SlurmOptions: ...

    @property
    def run_twice(self) -> float: ...

    @property
    def sandbox(self) -> str: ...

    @property
    def workers(self) -> int: ...


def engine_by(given: Placement, home: Home, line: Callable[[str], None]) -> Engine | None:
    """What places runs as it is said; None: this process. Whoever asks closes it. `line` shows what
    is wrong with the cluster, and whose move it is.

    Raises:
        Misconfigured: the cluster cannot be joined, or its runs cannot be placed there.
    """
    if given.engine == "local":
        return None
    box = SANDBOXES[given.sandbox]
    box.require()

    def make() -> DeviceEngine:
        notes = Notes(home.engines, given.engine)

        def say(words: str, whose: str = "operator") -> None:
            notes.wrong(words if whose else "", whose)  # "": it is well again
            line(words)

        return SampledEngine(_on_cluster(given, home, say), box, notes, given.run_twice, say)

    where = ray_address() if given.engine == "ray" else str(home.slurm)
    return SharedEngine.of((given.engine, where, given.slurm, given.workers), make)


def _on_cluster(given: Placement, home: Home, say: Callable[[str, str], None]) -> NodeEngine:
    if given.engine == "ray":
        from aarlab.runs.ray_engine import RayEngine

        return RayEngine(ray_address(), given.sandbox)
    from aarlab.runs.slurm_engine import SlurmEngine

    return SlurmEngine(home.slurm, given.slurm, given.sandbox, workers=given.workers, say=say)
