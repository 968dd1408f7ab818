"""What a preset costs before anything starts: FLOP from the models' shapes, then seconds, GPU-hours and dollars. Computed, not
measured: time is FLOP / (peak x MFU) for the two ends of an assumed range of MFU.

Legend: D width, I inner width, L layers, T tokens; FLOP of a token count two for a multiply-add.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from aarlab.core.errors import Misconfigured
from aarlab.models.preset import Preset, Recipe

GIB = 1 << 30
# Dense bf16 TFLOP/s without sparsity, as NVIDIA's data sheets say; the first name whose words the GPU's own contains.
PEAK_TFLOPS = {
    "B200": 2250.0,
    "GH200": 989.0,
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "H100": 989.0,
    "H800": 989.0,
    "H20": 148.0,
    "A100": 312.0,
    "A800": 312.0,
    "L40S": 362.0,
    "L40": 181.0,
    "L4": 121.0,
    "A40": 150.0,
    "A10": 125.0,
    "RTX 6000 Ada": 364.0,
    "RTX 4090": 165.0,
    "RTX 3090": 71.0,
}
MFU = (0.25, 0.45)  # shares of the peak: packed but neither lean nor compiled (31 % of 790 of 989), and all of it (54 %)
DECODING_MFU = (0.03, 0.10)  # of generation in large batches, which reads all weights for each token
START_S = (60.0, 180.0)  # a worker's once: to load both models and to compile
USD_PER_GPU_HOUR = 3.5  # about what an H200 is rented for on demand; prices differ by half and more


class Shape(NamedTuple):
    """A decoder with grouped-query attention and a gated MLP, as Llama, Qwen2 and Qwen3 are."""

    layers: int
    width: int
    inner: int
    heads: int
    kv_heads: int
    head_width: int
    vocabulary: int
    tied: bool  # the output matrix is the embedding

    @property
    def maps(self) -> dict[str, tuple[int, int]]:
        """(in, out) of each linear map of a layer."""
        q, kv = self.heads * self.head_width, self.kv_heads * self.head_width
        attention = {
            "q_proj": (self.width, q),
            "k_proj": (self.width, kv),
            "v_proj": (self.width, kv),
            "o_proj": (q, self.width),
        }
        gates = {name: (self.width, self.inner) for name in ("gate_proj", "up_proj")}
        return attention | gates | {"down_proj": (self.inner, self.width)}

    @property
    def linear(self) -> int:
        """Weights of all layers' linear maps: those that every token is multiplied with."""
        return self.layers * sum(n_in * n_out for n_in, n_out in self.maps.values())

    @property
    def weights(self) -> int:
        """All weights but the norms'."""
        return self.linear + self.vocabulary * self.width * (1 if self.tied else 2)

    def adapters(self, recipe: Recipe) -> int:
        """LoRA's weights: rank x (in + out) of each adapted map of each adapted layer."""
        layers = min(self.layers, recipe.screen_layers or self.layers)
        return layers * sum(recipe.rank * sum(ends) for name, ends in self.maps.items() if name in recipe.targets)


# The two models' config.json on the hub (Qwen/Qwen3-4B-Base, Qwen/Qwen1.5-0.5B-Chat).
KNOWN = {
    "Qwen/Qwen3-4B-Base": Shape(36, 2560, 9728, 32, 8, 128, 151_936, tied=True),
    "Qwen/Qwen1.5-0.5B-Chat": Shape(24, 1024, 2816, 16, 16, 64, 151_936, tied=True),
}


def shape_of(config: Mapping[str, object], where: str) -> Shape:
    """The shape that a config.json describes; `where` names it in errors.

    Raises:
        Misconfigured: a field is missing or no whole number: it is no such decoder.
    """

    def number(name: str, otherwise: int | None = None) -> int:
        value = config.get(name) or otherwise
        if not isinstance(value, int) or value < 1:
            raise Misconfigured(f"{where} has {name} = {value!r}, no whole number above 0: is it a causal language model's?")
        return value

    width, heads = number("hidden_size"), number("num_attention_heads")
    return Shape(
        layers=number("num_hidden_layers"),
        width=width,
        inner=number("intermediate_size"),
        heads=heads,
        kv_heads=number("num_key_value_heads", heads),
        head_width=number("head_dim", width // heads),
        vocabulary=number("vocab_size"),
        tied=config.get("tie_word_embeddings") is True,
    )


# --- FLOP of a token -------------------------------------------------------------------------------------------------------


def attention_flop(shape: Shape, context: float) -> float:
    """Of the attention of one token in one forward pass: two products with half the context on average, as it is causal.
    `context` is E[T^2] / E[T] of the items, in tokens."""
    return 4 * shape.heads * shape.head_width * (context / 2) * shape.layers


def forward_flop(shape: Shape, context: float, adapters: int = 0) -> float:
    """Of one token in a forward pass; the head, read at two positions an item, adds less than a thousandth."""
    return 2 * (shape.linear + adapters) + attention_flop(shape, context)


def training_flop(shape: Shape, recipe: Recipe, context: float) -> float:
    """Of one token forward and backward: frozen maps twice the forward's, as they need no gradient of weights; adapters and
    attention three times. In the screening tier only the top layers run; the trunk below was read once."""
    top = shape._replace(layers=min(shape.layers, recipe.screen_layers or shape.layers))
    return 4 * top.linear + 6 * shape.adapters(recipe) + 3 * attention_flop(top, context)


# --- memory and disk -------------------------------------------------------------------------------------------------------


def activation_bytes(shape: Shape, recipe: Recipe, tokens: int, *, compiled: bool) -> float:
    """What a pack's forward pass keeps for its backward pass, in bf16: of each token and layer three vectors of D, the queries,
    their results, keys and values, and two of I; without torch.compile, which fuses what lies between, about twice that."""
    layers = min(shape.layers, recipe.screen_layers or shape.layers)
    values = 3 * shape.width + 2 * shape.head_width * (shape.heads + shape.kv_heads) + 2 * shape.inner
    return 2 * tokens * layers * values * (1 if compiled else 2)


def gpu_bytes(strong: Shape, weak: Shape, preset: Preset) -> float:
    """Peak of one worker's GPU, without a generator: both models' weights, LoRA's float32 masters, gradients and AdamW's two
    moments with a copy in the compute type (18 bytes a weight), the activations of one pack, and 1 GiB for the context."""
    each = 2 if preset.hardware.dtype == "bfloat16" else 4
    tuned = max(strong.adapters(preset.recipe), weak.adapters(preset.teacher_recipe)) * 18
    pack = activation_bytes(strong, preset.recipe, preset.hardware.pack_tokens, compiled=preset.hardware.compile)
    return each * (strong.weights + weak.weights) + tuned + pack * each / 2 + GIB


def host_bytes(strong: Shape, weak: Shape) -> int:
    """What one worker holds in the machine's memory while it loads: both models in bf16, and 4 GiB for torch."""
    return 2 * (strong.weights + weak.weights) + 4 * GIB


def bank_bytes(preset: Preset, strong: Shape, n_items: int) -> int:
    """Feature banks: a float16 state of each item at each depth."""
    return 2 * n_items * len(preset.depths) * strong.width


def checkpoint_bytes(preset: Preset, strong: Shape) -> int:
    """What a fine-tuning keeps while it runs, per device: float32 adapters and AdamW's two moments, twice while the next one is
    written."""
    return 2 * 12 * strong.adapters(preset.recipe) * max(1, len(preset.hardware.devices))


# --- work ------------------------------------------------------------------------------------------------------------------


class Items(NamedTuple):
    """How many items of a problem are in its splits; `tested` is feedback and final together."""

    teacher: int
    student: int
    tested: int


STUDY = {"qwen-chat": Items(2245, 6826, 2 * 1263), "qwen-math": Items(2061, 4735, 1315), "qwen-code": Items(897, 8166, 2567)}


@dataclass(frozen=True)
class Assumed:
    """What an estimate rests on beside shapes and sizes. The tokens are the study's chat items', estimated: 800 to 1,200."""

    tokens: int = 1000  # mean of an item with its prompt
    context: float = 1310.0  # E[T^2] / E[T] of a lognormal spread of sigma 0.52
    asks: int = 4096  # of mutual predictability's search, before it labels every student item; one seed
    shots: int = 8  # demonstrations before each
    critic_group: int = 8  # critiques of an item in the critic's training
    critique: int = 256  # tokens of one critique


class Work(NamedTuple):
    """One step: training or reading FLOP, and FLOP of generation, of all its repetitions together."""

    name: str
    flop: float
    decoding: float = 0.0


def works(preset: Preset, strong: Shape, weak: Shape, items: Items, seeds: int, a: Assumed) -> Iterator[Work]:
    """The steps of `aar bench` on one problem, in order: what is prepared once, then each baseline with `seeds` runs."""
    labelled = items.student * preset.student_share

    def tune(shape: Shape, recipe: Recipe, n: float, read: float) -> float:
        return a.tokens * (
            n * recipe.epochs * training_flop(shape, recipe, a.context)
            + read * forward_flop(shape, a.context, shape.adapters(recipe))
        )

    taught = tune(weak, preset.teacher_recipe, items.teacher, items.student + items.tested)
    tuned = tune(strong, preset.recipe, labelled, items.tested)
    yield Work(f"teacher x {preset.seeds}", preset.seeds * taught)
    yield Work(f"ceiling x {preset.seeds}", preset.seeds * tuned)
    yield Work("feature bank", a.tokens * (items.student + items.tested) * forward_flop(strong, a.context))
    if preset.critic:
        yield critic_work(preset, strong, weak, items, a)
        again = tune(weak, preset.teacher_recipe, items.teacher / 2, items.student) * (1 + a.critique / a.tokens)
        yield Work(f"teacher with critiques x {preset.seeds}", preset.seeds * again)
    halved = tune(strong, preset.recipe, labelled / 2, items.tested)
    for name, each in (("naive", tuned), ("confident", halved), ("critic", tuned)):
        yield Work(f"{name} x {seeds}", seeds * each)
    length = min(preset.recipe.max_tokens, (a.shots + 1) * a.tokens)
    yield Work(f"elicitation x {seeds}", seeds * (tuned + (a.asks + labelled) * length * forward_flop(strong, length)))


def critic_work(preset: Preset, strong: Shape, weak: Shape, items: Items, a: Assumed) -> Work:
    """The critic: GRPO on half of the teacher split, then a critique of every other item. In training each critique is trained
    on once, and read once by the weak judge whose opinion is its reward."""
    prompts = items.teacher / 2
    sampled, others = prompts * a.critic_group, prompts + items.student + items.tested
    each = training_flop(strong, preset.recipe, a.context) + forward_flop(weak, a.context)
    forward = forward_flop(strong, a.context, strong.adapters(preset.recipe))
    trained = sampled * (a.tokens + a.critique) * each
    return Work("critic (GRPO)", trained + (prompts + others) * a.tokens * forward, (sampled + others) * a.critique * forward)


# --- time and dollars ------------------------------------------------------------------------------------------------------


def peak_flops(gpu: str) -> float | None:
    """Dense bf16 FLOP/s of a GPU by its name; None if it is not listed."""
    return next((tflops * 1e12 for known, tflops in PEAK_TFLOPS.items() if re.search(rf"\b{known}\b", gpu, re.I)), None)


def seconds(work: Work, peak: float) -> tuple[float, float]:
    """(least, most) GPU-seconds of a step at `peak` FLOP/s under the assumed ranges of MFU."""
    low, high = (work.flop / (peak * m) + work.decoding / (peak * d) for m, d in zip(MFU, DECODING_MFU, strict=True))
    return high, low


def dollars(gpu_seconds: float, usd_per_gpu_hour: float) -> float:
    return gpu_seconds / 3600 * usd_per_gpu_hour
