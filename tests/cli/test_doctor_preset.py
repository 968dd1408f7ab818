"""`aar doctor --preset`: what a preset lacks is said before anything starts, and what it would cost."""

import json
import subprocess
import sys

import httpx
import huggingface_hub
import pytest
import yaml
from huggingface_hub import errors

from aarlab.cli import doctor_preset
from aarlab.cli.doctor_preset import GATED, Gpu, checks, devices, estimate, gpus_here, hub, repos, shape
from aarlab.core.errors import Misconfigured
from aarlab.models import cost
from aarlab.models.preset import Hardware, preset
from tests.cli.test_doctor import aar_doctor, only, told

QWEN = preset("qwen")
STRONG, WEAK = cost.KNOWN["Qwen/Qwen3-4B-Base"], cost.KNOWN["Qwen/Qwen1.5-0.5B-Chat"]
H200 = Gpu("NVIDIA H200", 150 << 30, (9, 0))
CONFIG = {
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 500,
    "tie_word_embeddings": True,
}


@pytest.fixture(autouse=True)
def apart(tmp_path, monkeypatch):
    """A home of its own, and a hub that is not asked."""
    monkeypatch.setenv("AAR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("AAR_DATA_FROM", raising=False)


def model_folder(folder, **more):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | more))
    for name in ("model.safetensors", "tokenizer.json"):
        (folder / name).write_bytes(b"")
    return folder


def preset_file(tmp_path, **more):
    models = {side: {"name": f"my-{side}", "folder": str(model_folder(tmp_path / side))} for side in ("weak", "strong")}
    path = tmp_path / "my.yaml"
    path.write_text(yaml.safe_dump({"name": "mine", "tasks": ["qwen-chat"]} | models | more))
    return str(path)


def test_the_command_for_qwen_without_gpu_and_hub_says_both_and_what_it_would_cost(tmp_path):
    done = aar_doctor(tmp_path, "--preset", "qwen", HF_HUB_OFFLINE="1", CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 1
    assert "MISSING GPU: torch sees none" in done.stdout
    assert "MISSING model Qwen/Qwen3-4B-Base: on the hub: HF_HUB_OFFLINE is set" in done.stdout
    assert "MISSING dataset nvidia/HelpSteer2" in done.stdout
    assert "computed, not measured" in done.stdout
    assert "aar bench --student qwen, all of it:" in done.stdout


def test_a_preset_of_ones_own_with_local_folders_lacks_no_model(tmp_path):
    mine = preset(preset_file(tmp_path, critic=False, hardware={"devices": ["cpu"]}))
    found = list(checks(mine, 2.0))
    assert all(told(found)[what] for what in told(found) if what.startswith("model my-"))
    assert only(found, "device cpu").good is True
    assert only(found, "GPU: torch sees none").good is None
    assert not any("trl" in check.what for check in found)
    assert "$2 a GPU-hour" in only(found, "computed, not measured").what


def test_files_of_a_folder_are_looked_for(tmp_path):
    mine = preset(preset_file(tmp_path))
    (tmp_path / "strong" / "model.safetensors").unlink()
    assert "missing there: *.safetensors" in only(hub(mine), "model my-strong").remedy
    (tmp_path / "strong" / "config.json").write_text("{")
    with pytest.raises(Misconfigured, match=r"config\.json is no JSON"):
        shape(mine.strong)


def test_from_a_folder_laid_out_like_the_hub(tmp_path, monkeypatch):
    model_folder(tmp_path / "data" / "Qwen" / "Qwen3-4B-Base")
    for repo in repos(QWEN):
        if repo.kind == "dataset":
            for pattern in repo.patterns:
                path = tmp_path / "data" / repo.name / pattern.replace("*", "x").replace("[012]?", "000")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"")
    monkeypatch.setenv("AAR_DATA_FROM", str(tmp_path / "data"))
    found = list(hub(QWEN))
    assert [check.what for check in found if not check.good and "code_contests" not in check.what] == [
        "model Qwen/Qwen1.5-0.5B-Chat: on the hub"
    ]
    assert shape(QWEN.strong) == cost.shape_of(CONFIG, "x")  # its own config.json goes before what is known by name
    assert shape(QWEN.weak) == WEAK


def test_a_model_that_is_neither_here_nor_known_has_no_estimate(tmp_path):
    other = QWEN.model_copy(update={"strong": QWEN.strong.model_copy(update={"name": "some/one"})})
    found = list(checks(other, 1.0))
    assert found[-1].what == "memory, disk and time: not known before some/one is here"
    assert only(found, "GPU: torch sees none").good is False


# --- the hub ---------------------------------------------------------------------------------------------------------------

ASKED = httpx.Request("GET", "http://localhost/x")


class ConnectTimeout(errors.HTTPError):
    """Of the HTTP library that the hub's client uses, which need not be ours."""


def _answers(error, status):
    return error("words", response=httpx.Response(status, request=ASKED))


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (_answers(errors.GatedRepoError, 403), GATED),
        (_answers(errors.RepositoryNotFoundError, 404), "no such repository"),
        (_answers(errors.RevisionNotFoundError, 404), "no revision main"),
        (_answers(errors.HfHubHTTPError, 500), "does not answer (HfHubHTTPError)"),
        (ConnectTimeout("slow"), "does not answer (ConnectTimeout)"),
    ],
)
def test_what_the_hub_refuses_is_said(monkeypatch, raised, words):
    def ask(self, name, **given):
        raise raised

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", ask)
    assert words in only(hub(QWEN), "Qwen3-4B-Base").remedy


@pytest.mark.parametrize(("token", "good"), [(None, False), ("hf_x", True)])
def test_the_hub_is_asked_for_the_revision_with_a_short_timeout(monkeypatch, token, good):
    asked = []

    def ask(self, name, *, repo_type, revision, timeout):
        asked.append((name, repo_type, revision, timeout))
        return huggingface_hub.hf_api.ModelInfo(id=name, gated="manual")

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", ask)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: token)
    assert only(hub(QWEN), "Qwen3-4B-Base").good is good
    assert asked[0] == ("Qwen/Qwen3-4B-Base", "model", "main", doctor_preset.HUB_S)
    assert ("nvidia/HelpSteer3", "dataset", "main", doctor_preset.HUB_S) in asked


# --- devices ---------------------------------------------------------------------------------------------------------------


def test_a_gpu_that_suffices_and_one_that_is_too_old_and_too_small():
    needed = cost.gpu_bytes(STRONG, WEAK, QWEN)
    assert all(check.good for check in devices(QWEN, [H200], STRONG, needed))
    old, small = devices(QWEN, [Gpu("Tesla T4", 15 << 30, (7, 5))], STRONG, needed)
    assert (old.good, small.good) == (False, False)
    assert "bfloat16 needs 8.0" in old.remedy


def test_devices_that_are_not_there():
    asked = QWEN.model_copy(update={"hardware": Hardware(devices=("cuda:0", "cuda:1", "cpu", "tpu"))})
    found = told(devices(asked, [H200], STRONG, 1.0))
    assert [found[f"device {d}"] for d in ("cuda:0", "cuda:1", "cpu", "tpu")] == [True, False, True, False]


def test_torch_is_asked_in_a_process_of_its_own():
    assert gpus_here("print('noise'); print('[[\"NVIDIA H200\", 161061273600, [9, 0]]]')") == [H200]
    with pytest.raises(Misconfigured, match=r"ImportError: broken"):
        gpus_here("raise ImportError('broken')")
    code = "import sys, aarlab.cli.doctor_preset; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- the estimate ----------------------------------------------------------------------------------------------------------


def test_two_gpus_halve_the_hours_and_leave_gpu_hours_and_dollars():
    one, two = (only(estimate(QWEN, STRONG, WEAK, [H200] * n, 4.0), "chat: ceiling").what for n in (1, 2))
    assert one.partition(", ")[2] == two.partition(", ")[2]
    flop = next(
        w.flop for w in cost.works(QWEN, STRONG, WEAK, cost.STUDY["qwen-chat"], 5, cost.Assumed()) if "ceiling" in w.name
    )
    hours = [flop / 989e12 / m / 3600 for m in reversed(cost.MFU)]
    assert f"{hours[0]:.1f} h to {hours[1]:.1f} h, {hours[0]:.2f} to {hours[1]:.2f} GPU-hours" in one
    assert f"${4 * hours[0]:.2f} to ${4 * hours[1]:.2f}" in one


def test_the_total_is_the_sum_of_the_steps_and_a_start():
    def dollars(check):
        return [float(word.strip("$,")) for word in check.what.split() if word.startswith("$")]

    _, *steps, total = estimate(QWEN, STRONG, WEAK, [H200], 3600.0)  # so that a GPU-second is a dollar
    summed = [sum(of) + start for of, start in zip(zip(*map(dollars, steps), strict=True), cost.START_S, strict=True)]
    assert dollars(total) == pytest.approx(summed, abs=1)


def test_whose_peak_and_whose_sizes_are_taken_is_said():
    other = QWEN.model_copy(update={"tasks": ("my-items",)})
    first, step, *_ = estimate(other, STRONG, WEAK, [Gpu("Tesla T4", 1, (7, 5))], 1.0)
    assert "1 x NVIDIA H200, which is not here" in first.what
    assert "its size is not known before it is built" in step.what
