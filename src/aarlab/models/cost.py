"""What a preset needs of memory and disk, from the shapes of its models. All of it is computed, and
none was measured.

Legend: D width, I inner width.
"""

from collections.abc import Mapping
from typing import NamedTuple

from aarlab.core.errors import Misconfigured
from aarlab.models.preset import Preset, Recipe

GIB = 1 << 30


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
        """LoRA's weights: rank x (in + out) of each adapted map of each layer."""
        return self.layers * sum(
            recipe.rank * sum(ends) for name, ends in self.maps.items() if name in recipe.targets
        )


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
            raise Misconfigured(
                f"{where} has {name} = {value!r}, not a whole number above 0. Give the "
                "config.json of a causal language model."
            )
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


def activation_bytes(shape: Shape, tokens: int, *, compiled: bool) -> float:
    """What a pack's forward pass keeps for its backward pass, in bf16: of each token and layer
    three vectors of D, the queries, their results, keys and values, and two of I; without
    torch.compile, which fuses what lies between, about twice that."""
    values = (
        3 * shape.width + 2 * shape.head_width * (shape.heads + shape.kv_heads) + 2 * shape.inner
    )
    return 2 * tokens * shape.layers * values * (1 if compiled else 2)


def gpu_bytes(strong: Shape, weak: Shape, preset: Preset) -> float:
    """Peak of one worker's GPU, without a generator: both models' weights, LoRA's float32 masters,
    gradients and AdamW's two moments with a copy in the compute type (18 bytes a weight), the
    activations of one pack, and 1 GiB for the context."""
    each = 2 if preset.hardware.dtype == "bfloat16" else 4
    tuned = max(strong.adapters(preset.recipe), weak.adapters(preset.teacher_recipe)) * 18
    pack = activation_bytes(strong, preset.hardware.pack_tokens, compiled=preset.hardware.compile)
    return each * (strong.weights + weak.weights) + tuned + pack * each / 2 + GIB


def host_bytes(strong: Shape, weak: Shape) -> int:
    """What one worker holds in the machine's memory while it loads: both models in bf16, and 4 GiB
    for torch."""
    return 2 * (strong.weights + weak.weights) + 4 * GIB


def bank_bytes(preset: Preset, strong: Shape, n_items: int) -> int:
    """Feature banks: a float16 state of each item at each depth."""
    return 2 * n_items * len(preset.depths) * strong.width


def checkpoint_bytes(preset: Preset, strong: Shape) -> int:
    """What a fine-tuning keeps while it runs, per device: float32 adapters and AdamW's two moments,
    twice while the next one is written."""
    return 2 * 12 * strong.adapters(preset.recipe) * max(1, len(preset.hardware.devices))
