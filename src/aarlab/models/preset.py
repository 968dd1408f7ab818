"""A preset: which models, tasks, recipe and hardware. A configuration, not a fork: `small` and `qwen` walk the same path.

Legend: T tokens.
"""

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import ConfigDict, Field, model_validator

from aarlab.core.errors import Misconfigured
from aarlab.core.records import Record, validated

Depth = Annotated[float, Field(gt=0, le=1)]
FROZEN = ("smollm2", "double")  # students that are no preset
SHIPPED = files("aarlab.models") / "presets"
LINEAR_MAPS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class _Documented(Record):
    model_config = ConfigDict(use_attribute_docstrings=True)


class ModelSource(_Documented):
    """A causal language model in Hugging Face's format."""

    name: str
    """Its name on the model hub, or what a local folder is to be called in tables."""
    revision: str = "main"
    """Branch, tag or commit; the commit that it led to is recorded, and a later set-up that meets another is told so."""
    folder: Path | None = None
    """A local folder to take instead of asking the hub."""


class Recipe(_Documented):
    """How a model is fine-tuned. The defaults are the study's: LoRA (Hu et al. 2021) with rank-stabilised scaling on seven
    linear maps, AdamW, linear decay after a linear warm-up, the mean over the label tokens of a whole step."""

    rank: Annotated[int, Field(ge=1)] = 32
    alpha: Annotated[int, Field(ge=1)] = 32
    targets: tuple[str, ...] = LINEAR_MAPS
    batch: Annotated[int, Field(ge=1)] = 32
    """Items of one optimiser step, whatever the packing."""
    epochs: Annotated[int, Field(ge=1)] = 5
    rate: Annotated[float, Field(gt=0)] = 1e-4
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of all steps in which the rate rises."""
    clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of a step's gradient."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    format_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the two terms of the study's full-vocabulary loss that are not about the label: that a label word is said at
    all, and that the text ends after it. 0: the loss of a two-row head."""
    max_tokens: Annotated[int, Field(ge=64)] = 8192
    """Longer items are cut in the middle of their longest parts; none is dropped."""
    screen_layers: Annotated[int | None, Field(ge=1)] = None
    """Screening tier: adapters on so many top layers, over a trunk that is read once. Another method than the full recipe, so
    teacher, ceiling and baselines are trained in it too, and no campaign accepts it."""


class CriticRecipe(_Documented):
    """How the critic is trained: GRPO (Shao et al. 2024, arXiv:2402.03300) over LoRA, without a penalty for leaving the
    published model. The defaults are for one GPU of 80 GB and a strong model of 4 B parameters."""

    prompts: Annotated[int, Field(ge=1)] = 8
    """Items of an optimiser step; all their critiques are written before it."""
    group: Annotated[int, Field(ge=2)] = 8
    """Critiques of an item, whose rewards are compared with each other."""
    micro: Annotated[int, Field(ge=1)] = 8
    """Critiques of one forward and backward pass."""
    epochs: Annotated[int, Field(ge=1)] = 1
    """Over half the teacher split."""
    most_steps: Annotated[int | None, Field(ge=1)] = None
    """Ends the training earlier."""
    rate: Annotated[float, Field(gt=0)] = 2e-5
    rank: Annotated[int, Field(ge=1)] = 32
    alpha: Annotated[int, Field(ge=1)] = 32
    targets: tuple[str, ...] = LINEAR_MAPS
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """In training, and when critiques are written."""
    prompt_tokens: Annotated[int, Field(ge=64)] = 4096
    """Longer items are cut in the middle of their longest parts."""
    new_tokens: Annotated[int, Field(ge=1)] = 256
    """Most tokens of a critique."""
    keep_every: Annotated[int, Field(ge=1)] = 10
    """Steps between two checkpoints."""
    vllm_share: Annotated[float, Field(gt=0, lt=1)] = 0.35
    """Of the GPU's memory, for vLLM beside the training, where it is installed."""

    @model_validator(mode="after")
    def _whole(self) -> "CriticRecipe":
        if self.prompts * self.group % self.micro:
            raise ValueError(f"micro {self.micro} must divide prompts x group, {self.prompts * self.group}")
        return self


class Hardware(_Documented):
    """What changes speed and memory, and no result beyond rounding."""

    devices: tuple[str, ...] = ()
    """torch names, one worker each; empty: every GPU, or the CPU where there is none."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Of the frozen weights and of the computation; adapters are float32 masters."""
    pack_tokens: Annotated[int, Field(ge=64)] = 16384
    """Tokens of one packed forward pass; halved, and said so, when memory runs out. An item longer than this stands alone."""
    compile: bool = True
    """torch.compile of each decoder layer; on CUDA only."""
    checkpoint_s: Annotated[float, Field(gt=0)] = 120.0
    """Seconds between two checkpoints of a fine-tuning, from which it goes on after a kill."""


class Preset(_Documented):
    """Everything that a testbed of fine-tuned models is made of, beside its problem."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    weak: ModelSource
    """The teacher, fine-tuned on the true labels of the `teacher` split."""
    strong: ModelSource
    """The student, and the critic."""
    tasks: tuple[str, ...] = ()
    """The problems it is for; the first is the one that researchers see."""
    recipe: Recipe = Recipe()
    weak_recipe: Recipe | None = None
    """Where the teacher is trained otherwise than the student."""
    seeds: Annotated[int, Field(ge=2)] = 5
    """Of the teacher and of the ceiling."""
    student_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Of the student split that one seed draws."""
    depths: tuple[Depth, Depth, Depth, Depth, Depth] = (0.27, 0.4, 0.53, 0.67, 0.8)
    """Of the layers whose states are in the feature bank, as shares of all; they go by the names of the small preset's."""
    critic: bool = True
    """Train the critic (GRPO) and label with it. False: `critic_probs` are the teacher's own."""
    critic_recipe: CriticRecipe = CriticRecipe()
    hardware: Hardware = Hardware()

    @model_validator(mode="after")
    def _one_tier(self) -> "Preset":
        weak = self.teacher_recipe
        if (weak.screen_layers is None) != (self.recipe.screen_layers is None):
            raise ValueError("teacher and student must be in the same tier: set screen_layers in both recipes or in none")
        return self

    @property
    def teacher_recipe(self) -> Recipe:
        return self.weak_recipe or self.recipe


def preset(name: str) -> Preset:
    """A preset that ships, by name, or the one in a YAML file, by its path.

    Raises:
        Misconfigured: there is no such name or file, or a field is unknown or out of range.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not path.is_file():
            raise Misconfigured(f"There is no preset file {name}. Give the path of a YAML file, or one of: {_known()}.")
        return _read(path, name, path.parent.resolve())
    found = SHIPPED / f"{name}.yaml"
    if not found.is_file():
        raise Misconfigured(f"There is no preset '{name}'. Known: {_known()}; or give the path of a YAML file.")
    return _read(found, name, Path())


def _read(file: Traversable, name: str, beside: Path) -> Preset:
    """The preset in a file; folders of models are seen from `beside`."""
    try:
        fields = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{name} is no YAML: {error}") from error
    made = validated(Preset, _strict(fields), name)
    placed = {
        which: source.model_copy(update={"folder": beside / source.folder})
        for which in ("weak", "strong")
        if (source := getattr(made, which)).folder is not None
    }
    return made.model_copy(update=placed)


def _known() -> str:
    return ", ".join(sorted(p.name.removesuffix(".yaml") for p in SHIPPED.iterdir() if p.name.endswith(".yaml")))


def _strict(value: object) -> object:
    """YAML knows lists and strings where strict records want tuples and paths."""
    if isinstance(value, dict):
        return {k: Path(v) if k == "folder" and isinstance(v, str) else _strict(v) for k, v in value.items()}
    return tuple(map(_strict, value)) if isinstance(value, list) else value
