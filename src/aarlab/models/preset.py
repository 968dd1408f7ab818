"""A preset: models, tasks, recipe and hardware as configuration. `small` and `qwen` use the same
code.

Legend: T tokens.
"""

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from aarlab.core.errors import Misconfigured
from aarlab.core.hub import ModelSource
from aarlab.core.plain_text import decoded
from aarlab.core.records import Record
from aarlab.core.settings import expanded
from aarlab.core.strict_yaml import Document, record_of

Depth = Annotated[float, Field(gt=0, le=1)]
FROZEN = ("smollm2", "double")  # frozen students, which have no preset
SHIPPED = files("aarlab.models") / "presets"
LINEAR_MAPS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class _Documented(Record):
    model_config = ConfigDict(use_attribute_docstrings=True)


class Recipe(_Documented):
    """How a model is fine-tuned. The defaults are the study's: LoRA (Hu et al. 2021) with
    rank-stabilised scaling on seven linear maps, AdamW, linear decay after a linear warm-up, the
    mean over the label tokens of a whole step."""

    rank: Annotated[int, Field(ge=1)] = 32
    alpha: Annotated[int, Field(ge=1)] = 32
    targets: tuple[str, ...] = LINEAR_MAPS
    batch: Annotated[int, Field(ge=1)] = 32
    """Items of one optimiser step, whatever the packing."""
    epochs: Annotated[int, Field(ge=1)] = 5
    rate: Annotated[float, Field(gt=0)] = 1e-4
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Warm-up: the share of all steps in which the learning rate rises."""
    clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of a step's gradient."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    format_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of two terms of the study's full-vocabulary loss that do not depend on the label: a
    label word follows, and the text ends after it. 0: the loss of a two-row head."""
    max_tokens: Annotated[int, Field(ge=64)] = 8192
    """Token limit of an item. A longer item is cut in the middle of its longest parts; no item
    is dropped."""
    screen_layers: None = None
    """Always null. It chose the screening tier, which was removed. The field stays so that names
    and keys of earlier results do not change."""

    @field_validator("screen_layers", mode="before")
    @classmethod
    def _removed(cls, given: object) -> None:
        if given is not None:
            raise ValueError(
                "the screening tier was removed; delete this line, and all layers are fine-tuned"
            )


class CriticRecipe(_Documented):
    """How the critic is trained: GRPO (Shao et al. 2024, arXiv:2402.03300) over LoRA, without a
    penalty for leaving the published model. The defaults are for one GPU of 80 GB and a strong
    model of 4 B parameters."""

    prompts: Annotated[int, Field(ge=1)] = 8
    """Items of an optimiser step; all their critiques are written before it."""
    group: Annotated[int, Field(ge=2)] = 8
    """Critiques of an item, whose rewards are compared with each other."""
    micro: Annotated[int, Field(ge=1)] = 8
    """Critiques of one forward and backward pass."""
    epochs: Annotated[int, Field(ge=1)] = 1
    """Epochs over half of the teacher split."""
    most_steps: Annotated[int | None, Field(ge=1)] = None
    """Limit on the number of training steps."""
    rate: Annotated[float, Field(gt=0)] = 2e-5
    rank: Annotated[int, Field(ge=1)] = 32
    alpha: Annotated[int, Field(ge=1)] = 32
    targets: tuple[str, ...] = LINEAR_MAPS
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Sampling temperature, in training and when critiques are written."""
    prompt_tokens: Annotated[int, Field(ge=64)] = 4096
    """Token limit of an item. A longer item is cut in the middle of its longest parts."""
    new_tokens: Annotated[int, Field(ge=1)] = 256
    """Most tokens of a critique."""
    keep_every: Annotated[int, Field(ge=1)] = 10
    """Steps between two checkpoints."""
    vllm_share: Annotated[float, Field(gt=0, lt=1)] = 0.35
    """Share of the GPU's memory for vLLM, if it is installed, next to the training."""

    @model_validator(mode="after")
    def _whole(self) -> "CriticRecipe":
        if self.prompts * self.group % self.micro:
            raise ValueError(
                f"micro {self.micro} must divide prompts x group, {self.prompts * self.group}"
            )
        return self


class Hardware(_Documented):
    """Settings that change speed and memory, but no result beyond rounding."""

    devices: tuple[str, ...] = ()
    """Names of torch devices, each with one worker. Empty: all GPUs, or the CPU if there is
    none."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Data type of the frozen weights and of the computation. Adapters are kept in float32."""
    pack_tokens: Annotated[int, Field(ge=64)] = 16384
    """Tokens of one packed forward pass. It is halved, with a message, when memory runs out. A
    longer item gets a pack of its own."""
    compile: bool = True
    """torch.compile of each decoder layer; on CUDA only."""
    checkpoint_s: Annotated[float, Field(gt=0)] = 120.0
    """Seconds between two checkpoints of a fine-tuning, from which it resumes after a kill."""


class Preset(_Documented):
    """Everything besides the problem that a testbed of fine-tuned models depends on."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    weak: ModelSource
    """The teacher, fine-tuned on the true labels of the `teacher` split."""
    strong: ModelSource
    """The student, and the critic."""
    tasks: tuple[str, ...] = ()
    """The preset's problems. Researchers see the first one."""
    recipe: Recipe = Recipe()
    weak_recipe: Recipe | None = None
    """The teacher's recipe, where it differs from the student's."""
    seeds: Annotated[int, Field(ge=2)] = 5
    """Number of seeds of the teacher and of the ceiling."""
    student_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the student split that a seed draws."""
    depths: tuple[Depth, Depth, Depth, Depth, Depth] = (0.27, 0.4, 0.53, 0.67, 0.8)
    """Depths, as shares of all layers, of the states in the feature bank. They have the names of
    the small preset's layers."""
    critic: bool = True
    """Train the critic (GRPO) and label with it. False: `critic_probs` are the teacher's own."""
    critic_recipe: CriticRecipe = CriticRecipe()
    hardware: Hardware = Hardware()

    @property
    def teacher_recipe(self) -> Recipe:
        return self.weak_recipe or self.recipe


def preset(name: str) -> Preset:
    """A built-in preset by its name, or the preset in a YAML file by its path.

    Raises:
        Misconfigured: there is no such name or file, or a field is unknown or out of range.
    """
    if name.endswith((".yaml", ".yml")):
        path = expanded(name, "the preset")
        if not path.is_file():
            raise Misconfigured(
                f"There is no preset file {name}. Give the path of a YAML file, or one of: "
                f"{_known()}."
            )
        return _read(path, name, path.parent.resolve())
    found = SHIPPED / f"{name}.yaml"
    if not found.is_file():
        raise Misconfigured(
            f"There is no preset '{name}'. Known: {_known()}; or give the path of a YAML file."
        )
    return _read(found, name, Path())


def _read(file: Traversable, name: str, beside: Path) -> Preset:
    """The preset in a file; relative folders of models start at `beside`."""
    document = Document(decoded(file.read_bytes(), name), name)
    made = record_of(Preset, document, name, shape=_strict)
    placed = {
        which: source.model_copy(
            update={"folder": beside / expanded(source.folder, f"{name}: {which}.folder")}
        )
        for which in ("weak", "strong")
        if (source := getattr(made, which)).folder is not None
    }
    return made.model_copy(update=placed)


def _known() -> str:
    return ", ".join(
        sorted(p.name.removesuffix(".yaml") for p in SHIPPED.iterdir() if p.name.endswith(".yaml"))
    )


def _strict(value: object) -> object:
    """YAML knows lists and strings where strict records want tuples and paths."""
    if isinstance(value, dict):
        return {
            k: Path(v) if k == "folder" and isinstance(v, str) and v.strip() else _strict(v)
            for k, v in value.items()
        }
    return tuple(map(_strict, value)) if isinstance(value, list) else value
