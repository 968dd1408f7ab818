"""What a bench measures: one strict record that is the flags and the saved file at once."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from aarlab.core.records import Record
from aarlab.methods.baselines import FIRST_SEED
from aarlab.problems.problem import SELECTION_SEED
from aarlab.runs.placing import EngineName
from aarlab.runs.slurm_commands import SlurmOptions

TASKS = ("small-chat", "small-math", "small-code")


class Bench(Record):
    """Methods on problems, on seeds."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")] = "bench"
    """Folder of the results under AAR_HOME/benches."""
    tasks: tuple[str, ...] = TASKS
    """Problems, or JSONL files of items of your own."""
    methods: tuple[str, ...] = ()
    """Names, or paths of files with a `run(task, seed)` of your own; all that ship if empty."""
    seeds: Annotated[int, Field(ge=2, le=100)] = 5
    """How many seeds a method is run on."""
    data_seeds: tuple[Annotated[int, Field(ge=0)], ...] = (1,)
    """Draw items and splits; their test items are pooled."""
    student: str = "smollm2"
    """The strong model: smollm2 (frozen), a preset whose models are fine-tuned (qwen, or a YAML
    file), or double (tests)."""
    workers: Annotated[int, Field(ge=1)] = 2
    """Processes for features, and runs of methods at a time, of one thread each."""
    sandbox: Literal["bubblewrap", "docker", "directory"] = "bubblewrap"
    """Where methods run; `directory` isolates nothing."""
    run_timeout_s: Annotated[float, Field(gt=0)] | None = None
    """Seconds that one method may take on all seeds of a testbed: two minutes if not given, twelve
    hours where the student is fine-tuned."""
    engine: EngineName = "local"
    """Where runs of methods are placed: on this machine, by the Ray cluster of RAY_ADDRESS, or by
    Slurm."""
    slurm: SlurmOptions = SlurmOptions()
    """Of engine=slurm, what sbatch gets: partition, account, minutes (of each worker), args."""
    run_twice: Annotated[float, Field(ge=0, le=1)] = 0.02
    """Share of the runs on a cluster that are run on another node as well, so that one that lies is
    found."""
    selection: bool = False
    """Look at the selection seed (0), where hyper-parameters are chosen, and at nothing else."""

    @model_validator(mode="after")
    def _selection_apart(self) -> "Bench":
        if self.selection and self.data_seeds != (SELECTION_SEED,):
            raise ValueError(f"a selection bench looks at data seed {SELECTION_SEED} alone")
        if not self.selection and SELECTION_SEED in self.data_seeds:
            raise ValueError(
                f"data seed {SELECTION_SEED} is where hyper-parameters were chosen, so nothing is "
                "reported on it. Take another, or say --selection"
            )
        return self

    @property
    def run_seeds(self) -> tuple[int, ...]:
        return tuple(range(FIRST_SEED, FIRST_SEED + self.seeds))
