"""`aar doctor --preset`: what a preset lacks is said before anything starts, and how long it would
take."""

import json
import subprocess
import sys

import httpx
import huggingface_hub
import pytest
import yaml
from huggingface_hub import errors

from aarlab.cli import doctor_preset
from aarlab.cli.doctor_preset import (
    GATED,
    Gpu,
    checks,
    devices,
    gpus_here,
    hours,
    hub,
    repos,
    shape,
)
from aarlab.core.errors import Misconfigured
from aarlab.models import cost
from aarlab.models.preset import Hardware, preset
from tests.cli.test_doctor import aar_doctor, only, reported

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
    models = {
        side: {"name": f"my-{side}", "folder": str(model_folder(tmp_path / side))}
        for side in ("weak", "strong")
    }
    path = tmp_path / "my.yaml"
    path.write_text(yaml.safe_dump({"name": "mine", "tasks": ["qwen-chat"]} | models | more))
    return str(path)


@pytest.mark.process
@pytest.mark.long
def test_doctor_names_missing_gpu_missing_hub_and_expected_time(tmp_path):
    done = aar_doctor(tmp_path, "--preset", "qwen", HF_HUB_OFFLINE="1", CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 1
    assert "MISSING GPU: torch finds none" in done.stdout
    assert "MISSING model Qwen/Qwen3-4B-Base: on the hub: HF_HUB_OFFLINE is set" in done.stdout
    assert "MISSING dataset nvidia/HelpSteer2" in done.stdout
    assert "computed, not measured" in done.stdout
    assert "aar bench --student qwen --baselines:" in done.stdout


@pytest.mark.process
def test_a_preset_of_ones_own_with_local_folders_lacks_no_model(tmp_path):
    mine = preset(preset_file(tmp_path, critic=False, hardware={"devices": ["cpu"]}))
    found = list(checks(mine))
    models = {what: good for what, good in reported(found).items() if what.startswith("model my-")}
    assert len(models) == 2
    assert all(models.values())
    assert only(found, "device cpu").good is True
    assert only(found, "GPU: torch finds none").good is None
    assert not any("trl" in check.what for check in found)
    assert "hours of one H100 or H200" in found[-1].what


def test_files_of_a_folder_are_looked_for(tmp_path):
    mine = preset(preset_file(tmp_path))
    (tmp_path / "strong" / "model.safetensors").unlink()
    assert "missing there: *.safetensors" in only(hub(mine), "model my-strong").remedy
    (tmp_path / "strong" / "config.json").write_text("{")
    with pytest.raises(Misconfigured, match=r"config\.json is not JSON"):
        shape(mine.strong)


def test_from_a_folder_laid_out_like_the_hub(tmp_path, monkeypatch):
    model_folder(tmp_path / "data" / "Qwen" / "Qwen3-4B-Base")
    for repo in repos(QWEN):
        if repo.kind == "dataset":
            for pattern in repo.patterns:
                path = (
                    tmp_path
                    / "data"
                    / repo.name
                    / pattern.replace("*", "x").replace("[012]?", "000")
                )
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"")
    monkeypatch.setenv("AAR_DATA_FROM", str(tmp_path / "data"))
    found = list(hub(QWEN))
    assert [
        check.what for check in found if not check.good and "code_contests" not in check.what
    ] == ["model Qwen/Qwen1.5-0.5B-Chat: on the hub"]
    # its own config.json goes before what is known by name
    assert shape(QWEN.strong) == cost.shape_of(CONFIG, "x")
    assert shape(QWEN.weak) == WEAK


@pytest.mark.process
def test_a_model_that_is_neither_here_nor_known_has_no_estimate(tmp_path):
    other = QWEN.model_copy(update={"strong": QWEN.strong.model_copy(update={"name": "some/one"})})
    found = list(checks(other))
    assert found[-1].what == "memory, disk and time: unknown until some/one is downloaded"
    assert only(found, "GPU: torch finds none").good is False


# --- the hub --------------------------------------------------------------------------------------

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


# --- devices --------------------------------------------------------------------------------------


def test_a_gpu_that_suffices_and_one_that_is_too_old_and_too_small():
    needed = cost.gpu_bytes(STRONG, WEAK, QWEN)
    enough = devices(QWEN, [H200], STRONG, needed)
    assert [check.good for check in enough] == [True] * 2
    old, small = devices(QWEN, [Gpu("Tesla T4", 15 << 30, (7, 5))], STRONG, needed)
    assert (old.good, small.good) == (False, False)
    assert "bfloat16 needs 8.0" in old.remedy


def test_devices_that_are_not_there():
    asked = QWEN.model_copy(
        update={"hardware": Hardware(devices=("cuda:0", "cuda:1", "cpu", "tpu"))}
    )
    found = reported(devices(asked, [H200], STRONG, 1.0))
    assert [found[f"device {d}"] for d in ("cuda:0", "cuda:1", "cpu", "tpu")] == [
        True,
        False,
        True,
        False,
    ]


@pytest.mark.process
def test_torch_is_asked_in_a_process_of_its_own():
    assert gpus_here("print('noise'); print('[[\"NVIDIA H200\", 161061273600, [9, 0]]]')") == [H200]
    with pytest.raises(Misconfigured, match=r"ImportError: broken"):
        gpus_here("raise ImportError('broken')")
    code = "import sys, aarlab.cli.doctor_preset; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- hours ----------------------------------------------------------------------------------------


def test_hours_by_hand():
    """1,000 tokens of 80 % of 6,826 items, 5 ceilings and 4 baselines of 5 runs, 4 FLOP a weight:
    1.4e19 FLOP."""
    plain = QWEN.model_copy(update={"tasks": ("qwen-chat",), "student_share": 0.8, "seeds": 5})
    flop = 4 * STRONG.linear * 1000 * 6826 * 0.8 * plain.recipe.epochs * 25
    said = hours(plain, STRONG).what
    assert (
        f"at least {flop / 989e12 / 0.45 / 3600:.0f} hours of one H100 or H200 (computed, not "
        "measured" in said
    )
    assert hours(QWEN, STRONG).what != said, "of all tasks"


def test_of_a_task_whose_size_is_not_known_the_chats_is_taken():
    other, chat = (
        hours(QWEN.model_copy(update={"tasks": (t,)}), STRONG) for t in ("my-items", "qwen-chat")
    )
    assert other == chat
