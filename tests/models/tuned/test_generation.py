"""Writing texts: transformers on a tiny model, vLLM's wire against a stand-in server, and what a critique may say."""

import json
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch

from aarlab.core.errors import Misconfigured, Transient
from aarlab.models.strong import Question
from aarlab.models.tuned.critique import critique_prompts, without_verdict
from aarlab.models.tuned.generation import TransformersWriter, writer
from aarlab.models.tuned.tiny import make_tiny
from aarlab.models.tuned.vllm_server import VllmWriter, server_command, texts_of

WORDS = ["the good answer is long", "a bad story of the plot", "which line or paper", "Question: Answer A: B: Verdict: Review:"]
GREEDY = {"n": 1, "max_new_tokens": 5, "temperature": 0.0, "seed": 0}
SAMPLED = {"n": 3, "max_new_tokens": 5, "temperature": 1.0, "seed": 0}


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
    config = peft.LoraConfig(r=4, lora_alpha=64, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*is_gradient_checkpointing")
        peft.get_peft_model(model, config).save_pretrained(folder)
    return folder


def test_a_batch_padded_on_the_left_writes_what_each_prompt_alone_gets(plain, tiny):
    alone = TransformersWriter(tiny, batch_tokens=1)
    assert [len(rows) for rows in alone._batches([9, 9, 9], 1)] == [1, 1, 1]
    assert plain.write(WORDS, **GREEDY) == alone.write(WORDS, **GREEDY)


def test_greedy_text_is_the_argmax_by_hand(plain):
    ids = plain.tokenizer(WORDS[0])["input_ids"]
    start = len(ids)
    for _ in range(5):
        with torch.inference_mode():
            ids.append(int(plain.model(torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == plain.tokenizer.eos_token_id:
            break
    assert plain.write(WORDS[:1], **GREEDY) == [[plain.tokenizer.decode(ids[start:], skip_special_tokens=True)]]


def test_the_same_request_gives_the_same_texts_and_another_seed_others(plain):
    first = plain.write(WORDS, **SAMPLED)
    assert [len(texts) for texts in first] == [3] * 4
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
    batches = plain._batches(lengths, 2) if (plain.batch_tokens == 65536) else []
    assert sorted(r for b in batches for r in b) == list(range(len(lengths)))
    small = TransformersWriter.__new__(TransformersWriter)
    small.batch_tokens = 60
    for rows in small._batches(lengths, 2):
        assert len(rows) == 1 or len(rows) * 2 * max(lengths[r] for r in rows) <= 60


def test_running_out_of_memory_halves_the_batch_and_loses_no_text(plain, monkeypatch):
    whole, sizes, inner = plain.write(WORDS, **GREEDY), [], plain._batch

    def scarce(model, ids, asked):
        sizes.append(len(ids))
        if len(ids) > 1:
            raise torch.cuda.OutOfMemoryError("no memory")
        return inner(model, ids, asked)

    monkeypatch.setattr(plain, "_batch", scarce)
    assert plain.write(WORDS, **GREEDY) == whole
    assert sizes[:2] == [4, 2]


def test_the_writer_without_vllm_is_transformers_and_says_so(tiny, tmp_path):
    with writer(tiny, device="cpu", dtype="float32", log=tmp_path / "log") as made:
        assert made.by.startswith("transformers 5")


# --- vLLM's wire ------------------------------------------------------------------------------------------------------

STAND_IN = '''
import json, os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

assert os.environ["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"
loaded = {}


class Handler(BaseHTTPRequestHandler):
    """Answers in the documented shape; choices out of order, as nothing promises one."""

    def log_message(self, *args):
        print(*args, flush=True)

    def say(self, code, body, kind="application/json"):
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.say(200 if self.path == "/health" else 404, b"")

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v1/load_lora_adapter":
            if asked["lora_name"] in loaded:
                return self.say(400, b'{"message": "already loaded"}')
            loaded[asked["lora_name"]] = asked["lora_path"]
            return self.say(200, b"Success: LoRA adapter added successfully", "text/plain")
        if asked["model"] != "base" and asked["model"] not in loaded:
            return self.say(404, json.dumps({"error": {"message": "The model does not exist", "code": 404}}).encode())
        n = asked["n"]
        told = f'{asked["model"]} {asked["max_tokens"]} {asked["temperature"]} {asked["seed"]}'
        choices = [
            {"index": i, "text": f"{asked['prompt'][i // n]}|{i % n}|{told}", "logprobs": None, "finish_reason": "stop"}
            for i in range(len(asked["prompt"]) * n)
        ]
        body = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": asked["model"], "choices": choices[::-1]}
        self.say(200, json.dumps({**body, "usage": {"prompt_tokens": 1, "total_tokens": 2, "completion_tokens": 1}}).encode())


HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
'''
RUNTIME = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"}


@pytest.fixture
def stand_in(tmp_path, free_tcp_port):
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)
    return [sys.executable, str(script), str(free_tcp_port)], free_tcp_port, tmp_path / "log" / "vllm.log"


@pytest.fixture
def free_tcp_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_client_orders_texts_loads_an_adapter_once_and_ends_its_server(stand_in, tmp_path):
    command, port, log = stand_in
    made = VllmWriter.over(command, port, log, RUNTIME)
    try:
        texts = made.write(["p", "q"], n=2, max_new_tokens=7, temperature=0.5, seed=3)
        assert texts == [["p|0|base 7 0.5 3", "p|1|base 7 0.5 3"], ["q|0|base 7 0.5 3", "q|1|base 7 0.5 3"]]
        for _ in range(2):  # a second load would be refused
            assert made.write(["p"], **GREEDY, adapter=tmp_path) == [["p|0|adapter-0 5 0.0 0"]]
        many = made.write([str(i) for i in range(300)], **GREEDY)
        assert [t[0].partition("|")[0] for t in many] == [str(i) for i in range(300)]
        made._names[tmp_path / "lost"] = "lost"
        with pytest.raises(Transient, match="404"):
            made.write(["p"], **GREEDY, adapter=tmp_path / "lost")
    finally:
        made.close()
    assert made._process.returncode == -signal.SIGTERM
    assert "POST /v1/completions" in log.read_text()


def test_a_server_that_ends_before_it_answers_is_told_with_its_log(stand_in):
    _, port, log = stand_in
    with pytest.raises(Transient, match=r"ended with 3 .*vllm\.log"):
        VllmWriter.over([sys.executable, "-c", "import sys; sys.exit(3)"], port, log, RUNTIME)


def test_the_server_ends_with_its_starter_however_that_ends(stand_in):
    command, port, log = stand_in
    code = f"""
import os, signal
from pathlib import Path
from aarlab.models.tuned.vllm_server import VllmWriter
made = VllmWriter.over({command!r}, {port}, Path({str(log)!r}), {RUNTIME!r})
os.kill(os.getpid(), signal.SIGKILL)
"""
    starter = subprocess.run([sys.executable, "-c", code], timeout=60)
    assert starter.returncode == -signal.SIGKILL
    for _ in range(200):
        try:
            httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False)
        except httpx.TransportError:
            break
        time.sleep(0.05)
    else:
        pytest.fail("the server outlived its starter")


def test_the_command_is_the_documented_one_on_loopback():
    command = server_command(Path("model"), 1234, "bfloat16", 24, 4096)
    assert command[1:3] == ["-m", "vllm.entrypoints.openai.api_server"]
    options = dict(zip(command[4::2], command[5::2], strict=True))
    assert command[3] == "--enable-lora"
    assert options["--host"] == "127.0.0.1"
    assert options["--generation-config"] == "vllm"
    assert options["--max-lora-rank"] == "32"  # the next one that vLLM knows
    with pytest.raises(Misconfigured, match="rank 512"):
        server_command(Path("model"), 1234, "bfloat16", 1000, 4096)


@pytest.mark.parametrize("answer", [{}, {"choices": [{"index": 0, "text": "a"}]}, {"choices": [{"index": 5, "text": "a"}] * 2}])
def test_an_answer_of_another_shape_is_refused(answer):
    with pytest.raises(Transient, match="2 prompts of 1"):
        texts_of(json.loads(json.dumps(answer)), 2, 1)


# --- what the critic reads and may say --------------------------------------------------------------------------------

PAIR = Question("Why?", ("Because of rain.", "Because."))


def test_a_prompt_holds_the_item_without_its_verdict_or_an_earlier_critique(plain):
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
        ("The first answer is superior because it is short. It names no source.", 2, "It names no source."),
        ("Step 2 says 7 * 8 = 54, but 7 * 8 = 56. So the answer is wrong.", 1, "Step 2 says 7 * 8 = 54, but 7 * 8 = 56."),
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
    bits = ["A is better. ", "wrong ", "review: ", "the answer ", "\n", "7 * 8. ", "it ", "correct! "]
    for _ in range(200):
        text = "".join(rng.choice(bits, size=12))
        for choices in (1, 2):
            once = without_verdict(text, choices)
            assert set(once.split()) <= set(text.split())
            assert without_verdict(once, choices) == once
