"""The critic: its reward by hand, two steps of GRPO on tiny models, and going on after a kill."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import log_expit

from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.files import write_whole as write_file
from aarlab.core.process import Child
from aarlab.core.records import validated
from aarlab.models import critic
from aarlab.models.critic import CriticProcess, CriticRecipe, Models, TrainJob, WriteJob, seen
from aarlab.models.student_contract import Question
from aarlab.models.tuned import grpo, write
from aarlab.models.tuned.grpo import Reward, last_checkpoint, train
from aarlab.models.tuned.tokens import tokenise
from aarlab.models.tuned.tunable import Tunable
from tests.models.tiny_models import make_tiny
from tests.processes import gone
from tests.waiting import waited_for

pytestmark = pytest.mark.process

WORDS = ["the good answer is long", "a bad story of the plot", "Review: Question: Answer"]
ITEMS = [Question(f"which {i}", (f"good {i}", f"bad plot {i}")) for i in range(8)]
LABELS = [0, 1] * 4
TINY = CriticRecipe(
    prompts=2,
    group=4,
    micro=4,
    most_steps=2,
    keep_every=1,
    new_tokens=6,
    prompt_tokens=200,
    rank=4,
    rate=1e-2,
)
ENV = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Models:
    folder = tmp_path_factory.mktemp("models")
    strong = make_tiny(folder / "strong", seed=0, layers=2, width=32, texts=WORDS)
    weak = make_tiny(
        folder / "weak", seed=1, layers=1, width=32, texts=WORDS, kind="qwen2", chat=True
    )
    return Models(strong=strong, weak=weak, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def judge(models) -> Tunable:
    return Tunable(models.weak)


def job_in(folder: Path, models: Models, recipe: CriticRecipe = TINY) -> TrainJob:
    critic._items(folder, ITEMS, LABELS)
    return TrainJob(folder=folder, models=models, recipe=recipe, judge_tokens=256, seed=0)


def adapters(folder: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(folder / "adapter" / "adapter_model.safetensors")


def process_of(models: Models, recipe: CriticRecipe = TINY, devices=("cpu",)) -> CriticProcess:
    return CriticProcess(
        models.strong, models.weak, ("s", "w"), devices, "float32", recipe, 256, ENV
    )


# --- the reward -----------------------------------------------------------------------------------


def test_reward_is_the_gain_in_log_probability_of_the_label(judge):
    reward = Reward(judge, ITEMS, LABELS, max_tokens=256)
    text = "it rhymes with the plot"
    given = [Question(ITEMS[r].question, ITEMS[r].choices, text) for r in (0, 3)]
    with_z = judge.logits(tokenise(given, judge.tokenizer, max_tokens=256), adapters=False)
    without_z = judge.logits(
        tokenise([ITEMS[0], ITEMS[3]], judge.tokenizer, max_tokens=256), adapters=False
    )
    by_hand = [
        log_expit(-with_z[0]) - log_expit(-without_z[0]),
        log_expit(with_z[1]) - log_expit(without_z[1]),
    ]
    assert reward([text, text], [0, 3], prompts=["p", "p"]) == pytest.approx(by_hand, rel=1e-4)
    assert np.abs(by_hand).min() > 1e-6


def test_a_verdict_alone_is_worth_nothing(judge):
    reward = Reward(judge, ITEMS, LABELS, max_tokens=256)
    assert reward(["Answer A is better.", "Verdict: B", ""], [0, 1, 2]) == pytest.approx(
        [0, 0, 0], abs=1e-6
    )


# --- training -------------------------------------------------------------------------------------


def test_two_steps_of_training_leave_adapters_in_pefts_format_and_a_record(tmp_path, models):
    job = job_in(tmp_path, models)
    train(job)
    said = json.loads((tmp_path / "critic.json").read_text())
    assert said["steps"] == 2
    assert said["by"].startswith("transformers ")
    assert np.isfinite([said["reward_first"], said["reward_last"]]).all()
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (config["peft_type"], config["r"], config["use_rslora"]) == ("LORA", 4, True)
    trained = [a for name, a in adapters(tmp_path).items() if "lora_B" in name]
    assert any(np.abs(a).max() > 0 for a in trained)
    assert json.loads((tmp_path / "progress.json").read_text()) == {"step": 2, "of": 2}


@pytest.mark.long
def test_what_is_rewarded_is_written_more_often(tmp_path, models, monkeypatch):
    """Letters are rewarded in place of the teacher's gain; weights are made large enough for words
    to differ."""
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(models.strong)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            weights.mul_(10 if "embed" in name else 5 if "proj" in name else 1)
    model.save_pretrained(tmp_path / "strong")
    transformers.AutoTokenizer.from_pretrained(models.strong).save_pretrained(tmp_path / "strong")

    class Letters(Reward):
        def __call__(self, completions, row, **others):
            return [
                sum(c.isascii() and c.isalpha() for c in text) / max(1, len(text))
                for text in completions
            ]

    monkeypatch.setattr(grpo, "Reward", Letters)
    recipe = CriticRecipe(
        prompts=4,
        group=8,
        micro=32,
        most_steps=12,
        keep_every=100,
        new_tokens=6,
        prompt_tokens=200,
        rank=8,
        rate=5e-3,
    )
    train(
        job_in(tmp_path / "job", models.model_copy(update={"strong": tmp_path / "strong"}), recipe)
    )
    said = json.loads((tmp_path / "job" / "critic.json").read_text())
    assert said["reward_last"] > said["reward_first"] + 0.1


@pytest.mark.long
def test_killed_training_resumes_to_the_same_adapters(tmp_path, models):
    """A real process, killed once a step is kept; then the same job here, against one that nobody
    killed."""
    recipe = TINY.model_copy(update={"most_steps": 4})
    job, whole = (job_in(tmp_path / name, models, recipe) for name in ("killed", "whole"))
    write_file(job.folder / "config.json", job.model_dump_json().encode())
    with (job.folder / "log").open("wb") as log:
        argv = [
            sys.executable,
            "-P",
            "-m",
            "aarlab.models.tuned.grpo",
            "--config",
            str(job.folder / "config.json"),
        ]
        process = subprocess.Popen(argv, stdout=log, stderr=log, env=ENV)
        while last_state(job.folder) < 1 and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert last_state(job.folder) >= 1, (job.folder / "log").read_text()
    assert not (job.folder / "critic.json").exists()
    train(job)
    train(whole)
    kept, expected = adapters(job.folder), adapters(whole.folder)
    assert kept.keys() == expected.keys()
    for name in kept:
        assert kept[name] == pytest.approx(expected[name], abs=1e-5), name


def last_state(folder: Path) -> int:
    steps = [
        int(p.parent.name.rpartition("-")[2])
        for p in (folder / "trainer").glob("checkpoint-*/trainer_state.json")
    ]
    return max(steps, default=0)


def test_cut_checkpoint_is_removed_and_its_predecessor_used(tmp_path):
    for step, state in ((9, "{}"), (10, "{}"), (11, None), (12, '{"half')):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if state is not None:
            (folder / "trainer_state.json").write_text(state)
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-9"]
    assert last_checkpoint(tmp_path / "none") is None


# --- writing --------------------------------------------------------------------------------------


def test_what_is_written_is_kept_and_only_the_missing_is_written_again(tmp_path, models):
    critic._items(tmp_path, ITEMS, None)
    job = WriteJob(
        folder=tmp_path,
        name="texts-0",
        rows=tuple(range(8)),
        models=models,
        recipe=TINY,
        adapter=None,
        seed=0,
    )
    kept = "".join(json.dumps({"row": row, "text": f"kept {row}"}) + "\n" for row in (0, 5))
    (tmp_path / "texts-0.jsonl").write_text(kept + '{"row": 6, "te')  # cut off by a kill
    write.write(job)
    texts = critic.texts(tmp_path)
    assert sorted(texts) == list(range(8))
    assert (texts[0], texts[5]) == ("kept 0", "kept 5")
    assert (tmp_path / "texts-0.jsonl").read_text().startswith(kept)
    assert json.loads((tmp_path / "texts-0.by.json").read_text())["by"].startswith("transformers ")


def test_nothing_starts_for_what_is_done(tmp_path, models):
    nowhere = process_of(models.model_copy(update={"strong": Path("nowhere")}))
    (tmp_path / "critic.json").write_text("{}")
    assert nowhere.train(tmp_path, ITEMS, LABELS, 0, lambda done, of: None) == tmp_path / "adapter"
    lines = [json.dumps({"row": row, "text": str(row)}) + "\n" for row in range(8)]
    (tmp_path / "texts-0.jsonl").write_text("".join(lines[::2]))
    (tmp_path / "texts-1.jsonl").write_text("".join(lines[1::2]))
    written = nowhere.write(tmp_path, ITEMS, None, 0, lambda done, of: None)
    assert written == tuple(map(str, range(8)))
    questions, labels = critic.read_items(tmp_path)
    assert (questions, labels) == (ITEMS, [])


def running(tmp_path, name, *argv):
    child = Child("critic's process", [sys.executable, "-P", *argv], log=tmp_path / f"{name}.log")
    child.start()
    return child


def test_failed_process_is_reported_and_ends_the_others(tmp_path):
    slow = running(tmp_path, "slow", "-c", "import time; time.sleep(60)")
    fails = running(tmp_path, "fails", "-m", "aarlab.no_such_module")
    with pytest.raises(Transient, match=r"with 1; its last output: .*no_such_module.*fails\.log"):
        critic._wait([fails, slow], lambda: None)
    assert slow.join(0) == -signal.SIGTERM


@pytest.mark.long
def test_a_job_ends_with_its_starter_even_by_kill_9(tmp_path, models):
    job = job_in(tmp_path / "job", models, TINY.model_copy(update={"most_steps": 10_000}))
    config = tmp_path / "config.json"
    config.write_text(job.model_dump_json())
    code = f"""
import pathlib, sys, time
from aarlab.core.process import Child
argv = [sys.executable, "-P", "-m", "aarlab.models.tuned.grpo", "--config", {str(config)!r}]
child = Child("critic's process", argv, log=pathlib.Path({str(tmp_path / "log")!r}))
child.start()
print(child.pid, flush=True)
time.sleep(600)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=ENV
    ) as starter:
        pid = int(starter.stdout.readline())
        starter.kill()
    waited_for(lambda: gone(pid))


def test_what_the_operator_must_mend_is_reported_as_such(tmp_path, models, monkeypatch, capsys):
    """64 tokens do not hold the critic's fixed words, which are more than that in this
    tokenizer."""
    critic._items(tmp_path, ITEMS, None)
    recipe = TINY.model_copy(update={"prompt_tokens": 64})
    job = WriteJob(
        folder=tmp_path,
        name="texts-0",
        rows=(0,),
        models=models,
        recipe=recipe,
        adapter=None,
        seed=0,
    )
    (tmp_path / "config.json").write_text(job.model_dump_json())
    monkeypatch.setattr(sys, "argv", ["write", "--config", str(tmp_path / "config.json")])
    with pytest.raises(SystemExit) as ended:
        write.main()
    said = capsys.readouterr().err
    assert "Raise prompt_tokens" in said
    ends = running(
        tmp_path, "ends", "-c", f"import sys; print({said!r}); sys.exit({ended.value.code})"
    )
    with pytest.raises(Misconfigured, match="Raise prompt_tokens"):
        critic._wait([ends], lambda: None)


def test_without_trl_the_critic_says_what_to_install(tmp_path, models, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Misconfigured, match=r"aarlab\[critic\]"):
        process_of(models).train(tmp_path, ITEMS, LABELS, 0, lambda done, of: None)


def test_a_process_sees_one_device_alone():
    assert seen("cpu", {}) == seen("cuda", {}) == {}
    assert seen("cuda:1", {}) == {"CUDA_VISIBLE_DEVICES": "1"}
    assert seen("cuda:1", {"CUDA_VISIBLE_DEVICES": "4,6"}) == {"CUDA_VISIBLE_DEVICES": "6"}


def test_critic_identity_depends_on_models_and_recipe(models):
    one = process_of(models)
    assert one.identity == process_of(models, devices=("cuda:0", "cuda:1")).identity
    assert one.identity != process_of(models, TINY.model_copy(update={"rate": 1e-3})).identity


def test_a_recipe_without_whole_passes_is_refused():
    with pytest.raises(Misconfigured, match="micro 3 must divide"):
        validated(CriticRecipe, {"micro": 3}, "critic")
