"""Writing texts: transformers on a tiny model, vLLM's interface against a stand-in, and what a
critique may say."""

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from aarlab.core.errors import Misconfigured
from aarlab.models.student_contract import Question
from aarlab.models.tuned.critique import critique_prompts, without_verdict
from aarlab.models.tuned.generation import TransformersWriter, writer
from aarlab.models.tuned.vllm_writer import VllmWriter
from tests.models.tiny_models import make_tiny

WORDS = [
    "the good answer is long",
    "a bad story of the plot",
    "which line or paper",
    "Question: Answer A: B: Verdict: Review:",
]
GREEDY = {"max_new_tokens": 5, "temperature": 0.0, "seed": 0}
SAMPLED = {"max_new_tokens": 5, "temperature": 1.0, "seed": 0}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny"), seed=0, layers=2, width=32, texts=WORDS)


@pytest.fixture(scope="module")
def plain(tiny) -> TransformersWriter:
    return TransformersWriter(tiny)


@pytest.fixture(scope="module")
def adapter(tiny, tmp_path_factory) -> Path:
    """Adapters that change every text: the second factor is not zero."""
    import peft
    import transformers

    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny)
    config = peft.LoraConfig(
        r=4,
        lora_alpha=64,
        target_modules=["q_proj", "v_proj", "down_proj"],
        init_lora_weights=False,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", category=FutureWarning, message=".*is_gradient_checkpointing"
        )
        peft.get_peft_model(model, config).save_pretrained(folder)
    return folder


def test_a_batch_padded_on_the_left_writes_what_each_prompt_alone_gets(plain, tiny):
    alone = TransformersWriter(tiny, batch_tokens=1)
    assert [len(rows) for rows in alone._batches([9, 9, 9])] == [1, 1, 1]
    assert plain.write(WORDS, **GREEDY) == alone.write(WORDS, **GREEDY)


def test_greedy_text_is_the_argmax_by_hand(plain):
    ids = plain.tokenizer(WORDS[0])["input_ids"]
    start = len(ids)
    for _ in range(5):
        with torch.inference_mode():
            ids.append(int(plain.model(torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == plain.tokenizer.eos_token_id:
            break
    expected = plain.tokenizer.decode(ids[start:], skip_special_tokens=True)
    assert plain.write(WORDS[:1], **GREEDY) == [expected]


def test_the_same_request_gives_the_same_texts_and_another_seed_others(plain):
    first = plain.write(WORDS, **SAMPLED)
    assert len(first) == 4
    assert first == plain.write(WORDS, **SAMPLED)
    assert first != plain.write(WORDS, **{**SAMPLED, "seed": 1})
    assert plain.write([], **SAMPLED) == []


def test_adapters_are_in_force_for_the_call_alone(tiny, adapter):
    made = TransformersWriter(tiny)
    before = made.write(WORDS, **GREEDY)
    under = made.write(WORDS, **GREEDY, adapter=adapter)
    assert under != before
    assert made.write(WORDS, **GREEDY) == before
    assert made.write(WORDS, **GREEDY, adapter=adapter) == under


def test_marks_of_special_tokens_in_an_item_are_plain_text(plain):
    eos = plain.tokenizer.eos_token
    assert plain.tokenizer.eos_token_id not in plain.tokenizer(f"a {eos} b")["input_ids"]


@pytest.mark.parametrize("lengths", [[3, 9, 9, 2, 40], [7] * 20, [100]])
def test_batches_hold_every_row_once_within_the_budget(plain, lengths):
    batches = plain._batches(lengths) if (plain.batch_tokens == 65536) else []
    assert sorted(r for b in batches for r in b) == list(range(len(lengths)))
    small = TransformersWriter.__new__(TransformersWriter)
    small.batch_tokens = 60
    for rows in small._batches(lengths):
        assert len(rows) == 1 or len(rows) * max(lengths[r] for r in rows) <= 60


def test_running_out_of_memory_halves_the_batch_and_loses_no_text(plain, monkeypatch):
    whole, sizes, inner = plain.write(WORDS, **GREEDY), [], plain._batch

    def scarce(model, ids, how):
        sizes.append(len(ids))
        if len(ids) > 1:
            raise torch.cuda.OutOfMemoryError("no memory")
        return inner(model, ids, how)

    monkeypatch.setattr(plain, "_batch", scarce)
    assert plain.write(WORDS, **GREEDY) == whole
    assert sizes[:2] == [4, 2]


def test_the_writer_without_vllm_is_transformers_and_says_so(tiny):
    with writer(tiny, device="cpu", dtype="float32") as made:
        assert made.by.startswith("transformers 5")


# --- vLLM's documented interface ------------------------------------------------------------------

STAND_IN = '''
"""The parts of vLLM's offline interface that are used; anything else is a TypeError."""
from dataclasses import dataclass


@dataclass
class SamplingParams:
    n: int
    max_tokens: int
    temperature: float
    top_p: float
    seed: int


@dataclass
class Completion:
    text: str


@dataclass
class RequestOutput:
    outputs: list


class LLM:
    def __init__(
        self, model, *, dtype, enable_lora, max_lora_rank, max_model_len, generation_config
    ):
        assert enable_lora and generation_config == "vllm"
        self.reported = f"{dtype} {max_lora_rank} {max_model_len}"

    def generate(self, prompts, sampling_params, *, use_tqdm, lora_request):
        lora = lora_request
        under = (lora.lora_name, lora.lora_int_id, lora.lora_path) if lora else None
        def text(p, s, k):
            return f"{p} {s.seed + k} {s.max_tokens} {s.temperature} {under} {self.reported}"

        return [
            RequestOutput([Completion(text(p, s, k)) for k in range(s.n)])
            for p, s in zip(prompts, sampling_params, strict=True)
        ]
'''
LORA = """
from dataclasses import dataclass


@dataclass
class LoRARequest:
    lora_name: str
    lora_int_id: int
    lora_path: str
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    for name, text in (
        ("vllm/__init__.py", STAND_IN),
        ("vllm/lora/__init__.py", ""),
        ("vllm/lora/request.py", LORA),
        ("vllm-0.dist-info/METADATA", "Metadata-Version: 2.1\nName: vllm\nVersion: 0.0\n"),
    ):
        path = tmp_path / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "vllm"]:
        del sys.modules[name]


def test_vllm_is_called_as_documented_and_each_text_has_a_seed_of_its_own(stand_in, tmp_path):
    made = VllmWriter(Path("model"), dtype="bfloat16", rank=24, max_tokens=4096)
    reported = "bfloat16 32 4096"  # 32: the next rank that vLLM knows
    assert made.by == "vllm 0.0"
    texts = made.write(["p", "q"], max_new_tokens=7, temperature=0.5, seed=3)
    assert texts == [f"p 3 7 0.5 None {reported}", f"q 4 7 0.5 None {reported}"]
    for adapter, number in ((tmp_path, 1), (tmp_path / "other", 2), (tmp_path, 1)):
        under = (f"adapter-{number}", number, str(adapter.resolve()))
        assert made.write(["p"], **GREEDY, adapter=adapter) == [f"p 0 5 0.0 {under} {reported}"]
    made.close()


def test_a_rank_that_vllm_does_not_serve_is_refused():
    with pytest.raises(Misconfigured, match="rank 512, not 1000"):
        VllmWriter(Path("model"), dtype="bfloat16", rank=1000, max_tokens=4096)


# --- what the critic reads and may say ------------------------------------------------------------

PAIR = Question("Why?", ("Because of rain.", "Because."))


def test_prompt_has_the_item_without_verdict_or_critique(plain):
    (text,) = critique_prompts([Question(*vars(PAIR).values())], plain.tokenizer, max_tokens=500)
    assert text.startswith("Question:\nWhy?\n\nAnswer A:\nBecause of rain.\n\nAnswer B:\nBecause.")
    assert text.endswith("Review:\n")
    assert "Verdict" not in text
    with_critique = Question(PAIR.question, PAIR.choices, critique="spoiler")
    assert critique_prompts([with_critique], plain.tokenizer, max_tokens=500) == [text]


def test_an_item_that_is_too_long_is_cut_in_the_middle_of_its_longest_part(plain):
    long = Question("Why?", ("start " + "the plot " * 300 + "end", "Because."))
    (text,) = critique_prompts([long], plain.tokenizer, max_tokens=220)
    assert len(plain.tokenizer(text)["input_ids"]) <= 225
    assert "Because." in text
    assert "Answer A:\nstart" in text
    assert "end\n\nAnswer B" in text
    with pytest.raises(Misconfigured, match="prompt_tokens"):
        critique_prompts([long], plain.tokenizer, max_tokens=10)


@pytest.mark.parametrize(
    ("text", "choices", "kept"),
    [
        ("A cites the law. B is better.", 2, "A cites the law."),
        (
            "The first answer is superior because it is short. It names no source.",
            2,
            "It names no source.",
        ),
        (
            "Step 2 says 7 * 8 = 54, but 7 * 8 = 56. So the answer is wrong.",
            1,
            "Step 2 says 7 * 8 = 54, but 7 * 8 = 56.",
        ),
        ("This is correct! The sum 1.5 + 2 is 3.5.", 1, "The sum 1.5 + 2 is 3.5."),
        ("A is right. Its date is 1066. It rhymes.", 2, "Its date is 1066.\nIt rhymes."),
        ("so it ends. Answer B: again", 2, "so it ends."),
        ("thus Verdict: A", 2, ""),
        ("Good sources.\nVerdict: B\nmore", 2, "Good sources."),
        ("Fine.\n\nQuestion:\nanother", 2, "Fine."),
        ("Verdict: A", 2, ""),
        ("I prefer B", 2, ""),
        ("", 1, ""),
    ],
)
def test_verdicts_go_and_reasons_stay(text, choices, kept):
    assert without_verdict(text, choices) == kept


def test_nothing_is_added_and_a_second_pass_changes_nothing():
    rng = np.random.default_rng(0)
    bits = [
        "A is better. ",
        "wrong ",
        "review: ",
        "the answer ",
        "\n",
        "7 * 8. ",
        "it ",
        "correct! ",
    ]
    for _ in range(200):
        text = "".join(rng.choice(bits, size=12))
        for choices in (1, 2):
            once = without_verdict(text, choices)
            assert set(once.split()) <= set(text.split())
            assert without_verdict(once, choices) == once
