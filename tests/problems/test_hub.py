"""The hub's own client against a hub on loopback, and folders in its place."""

import json

import pytest
from huggingface_hub import constants

from aarlab.core import hub as module
from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.hub import FOLDER, ModelSource, Source, dataset, ensure_model, snapshot
from tests.problems.hub_server import Hub

NAME = "owner/data"
TRAIN, OTHER = b'{"x": 1}\n' * 9, b"read me"
MODEL = {
    "config.json": b"{}",
    "model.safetensors": b"w" * 50,
    "tokenizer.json": b"{}",
    "pytorch_model.bin": b"no",
}


@pytest.fixture
def hub(monkeypatch):
    made = Hub({NAME: {"a/train.jsonl": TRAIN, "README.md": OTHER}, "owner/model": MODEL})
    monkeypatch.setattr(constants, "ENDPOINT", made.url)
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        made.url + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("AAR_DATA_FROM", raising=False)
    yield made
    made.close()


def take(cache, revision="main", local=None, patterns=("a/*.jsonl",)):
    return snapshot(NAME, revision, kind="dataset", patterns=patterns, cache=cache, local=local)


def folder_of(root, files, name=NAME):
    for path, body in files.items():
        target = root / name / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(body)
    return root


def test_the_wanted_files_are_downloaded_and_recorded(hub, tmp_path):
    found = take(tmp_path)
    assert found.commit == hub.commit
    assert list(found.sha256) == ["a/train.jsonl"]
    assert (found.folder / "a/train.jsonl").read_bytes() == TRAIN
    assert not (found.folder / "README.md").exists()
    recorded = json.loads((tmp_path / "hub/datasets/owner/data.source.json").read_text())
    assert (recorded["revision"], recorded["commit"]) == ("main", hub.commit)
    assert recorded["files"]["a/train.jsonl"]["sha256"] == found.sha256["a/train.jsonl"]


def test_the_second_time_nothing_is_asked_of_the_network(hub, tmp_path, monkeypatch):
    first = take(tmp_path)
    hub.asked.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert take(tmp_path) == first
    assert take(tmp_path, revision=hub.commit) == first
    assert not hub.asked


def test_a_changed_file_is_refused_and_a_lost_one_is_fetched_again(hub, tmp_path):
    first = take(tmp_path)
    path = first.folder / "a/train.jsonl"
    path.unlink()
    assert take(tmp_path) == first
    path.write_bytes(TRAIN[:-1])
    with pytest.raises(Misconfigured, match=r"SHA-256 .* delete .*data.source.json"):
        take(tmp_path)


def test_a_file_of_the_same_size_is_reported_apart_large_or_small(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGE", 1)
    first = take(tmp_path)
    (first.folder / "a/train.jsonl").write_bytes(TRAIN.replace(b"1", b"2"))
    with pytest.raises(Misconfigured, match="SHA-256"):
        take(tmp_path)


def test_a_branch_that_moved_is_refused_and_the_old_commit_remains(hub, tmp_path):
    first = take(tmp_path)
    old, hub.commit = hub.commit, "b" * 40
    assert take(tmp_path) == first  # what is there needs no hub
    (first.folder / "a/train.jsonl").unlink()
    with pytest.raises(Misconfigured, match=f"commit {hub.commit}, but commit {old} "):
        take(tmp_path)
    with pytest.raises(Misconfigured, match="was used before"):
        take(tmp_path, revision=hub.commit)
    hub.commit = old
    assert take(tmp_path, revision=old) == first


def test_what_does_not_arrive_whole_is_not_kept(hub, tmp_path):
    hub.spoilt["a/train.jsonl"] = b"y" * len(TRAIN)
    with pytest.raises(Transient, match="was downloaded incompletely"):
        take(tmp_path)
    hub.spoilt.clear()
    assert (take(tmp_path).folder / "a/train.jsonl").read_bytes() == TRAIN


@pytest.mark.parametrize(
    ("name", "revision", "reported"),
    [("owner/none", "main", "does not offer"), (NAME, "c" * 40, "does not offer")],
)
def test_what_the_hub_does_not_have_is_the_operators_move(hub, tmp_path, name, revision, reported):
    with pytest.raises(Misconfigured, match=reported):
        snapshot(name, revision, kind="dataset", patterns=("*",), cache=tmp_path, local=None)


def test_a_pattern_without_a_file_is_reported(hub, tmp_path):
    with pytest.raises(Misconfigured, match=r"has no file b/\*\.jsonl"):
        take(tmp_path, patterns=("a/*.jsonl", "b/*.jsonl"))


def test_an_unreachable_or_forbidden_hub_names_files_and_remedy(hub, tmp_path, monkeypatch):
    hub.close()
    with pytest.raises(
        Transient,
        match=r"a/\*\.jsonl of owner/data cannot be downloaded.*DIR/owner/data/.*--from DIR",
    ):
        take(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Transient, match="HF_HUB_OFFLINE is set"):
        take(tmp_path)


def test_a_folder_is_asked_first_and_used_in_place(hub, tmp_path, monkeypatch):
    local = folder_of(tmp_path / "from", {"a/train.jsonl": TRAIN})
    monkeypatch.setenv("AAR_DATA_FROM", str(local))
    found = dataset(Source(NAME, "main", "MIT", ("a/*.jsonl",)), tmp_path / "cache")
    assert found.folder == local / NAME
    assert found.commit == FOLDER
    assert not hub.asked
    (found.folder / "a/train.jsonl").write_bytes(b"half")
    with pytest.raises(Misconfigured, match="SHA-256"):
        dataset(Source(NAME, "main", "MIT", ("a/*.jsonl",)), tmp_path / "cache")


def test_missing_repository_uses_the_hub_and_missing_file_is_named(hub, tmp_path):
    assert (
        take(tmp_path / "cache", local=folder_of(tmp_path / "one", {"x": b""}, "owner/else")).commit
        == hub.commit
    )
    with pytest.raises(Misconfigured, match=r"has no file a/\*\.jsonl"):
        take(tmp_path / "cache", local=folder_of(tmp_path / "two", {"README.md": OTHER}))


def test_a_folder_that_the_hubs_client_filled_says_its_commit(hub, tmp_path):
    filled = take(tmp_path / "cache").folder
    target = tmp_path / "from" / NAME
    target.parent.mkdir(parents=True)
    filled.rename(target)
    assert take(tmp_path / "new", local=tmp_path / "from").commit == hub.commit


def test_file_that_differs_from_the_hubs_record_is_refused(hub, tmp_path):
    filled = take(tmp_path / "cache").folder
    (filled / "a/train.jsonl").write_bytes(TRAIN[:40])
    target = tmp_path / "from" / NAME
    target.parent.mkdir(parents=True)
    filled.rename(target)
    with pytest.raises(
        Misconfigured, match=r"the hub gives [0-9a-f]{64}: it was changed or copied in part"
    ):
        take(tmp_path / "new", local=tmp_path / "from")


def test_a_model_with_a_shard_missing_is_reported(hub, tmp_path):
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    files = {
        "config.json": b"{}",
        "model-1.safetensors": b"w",
        "model.safetensors.index.json": json.dumps(index).encode(),
    }
    folder_of(tmp_path, files, "owner/part")
    with pytest.raises(
        Misconfigured,
        match=r"has no model-2\.safetensors, which model\.safetensors\.index\.json names",
    ):
        ensure_model(ModelSource(name="mine", folder=tmp_path / "owner/part"), tmp_path)


def test_a_model_comes_without_what_it_has_no_use_for(hub, tmp_path):
    folder = ensure_model(ModelSource(name="owner/model"), tmp_path)
    assert sorted(p.name for p in folder.iterdir() if p.is_file()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    del hub.files["owner/model"]["tokenizer.json"]
    with pytest.raises(Misconfigured, match=r"has no file tokenizer\*"):
        ensure_model(ModelSource(name="owner/model"), tmp_path / "other")


def test_a_models_own_folder_is_taken_if_it_is_one(tmp_path):
    with pytest.raises(Misconfigured, match=r"no config\.json"):
        ensure_model(ModelSource(name="mine", folder=tmp_path), tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert ensure_model(ModelSource(name="mine", folder=tmp_path), tmp_path) == tmp_path


def test_a_damaged_record_is_reported(hub, tmp_path):
    take(tmp_path)
    (tmp_path / "hub/datasets/owner/data.source.json").write_text("{")
    with pytest.raises(Misconfigured, match="is damaged"):
        take(tmp_path)


def test_a_folder_that_is_not_there_is_the_operators_slip(tmp_path, monkeypatch):
    monkeypatch.setenv("AAR_DATA_FROM", str(tmp_path / "misspelt"))
    with pytest.raises(Misconfigured, match=r"no folder .*misspelt"):
        dataset(Source("owner/name", "main", "MIT", ("a.jsonl",)), tmp_path / "cache")


def test_a_commit_is_pinned_by_its_first_digits(hub, tmp_path, monkeypatch):
    """The hub takes whole commits alone: it is asked which one begins so, once."""
    first = take(tmp_path, revision="aaaaaaaa")
    assert first.commit == hub.commit
    hub.asked.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert take(tmp_path, revision="aaaaaaaa") == take(tmp_path, revision=hub.commit) == first
    assert not hub.asked
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with pytest.raises(Misconfigured, match="0 commits of dataset owner/data begin with bbbbbbbb"):
        take(tmp_path / "new", revision="bbbbbbbb")


def test_a_pointer_of_git_lfs_and_the_layout_of_github_are_named(hub, tmp_path):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    with pytest.raises(Misconfigured, match="is a Git LFS pointer.*run `git lfs pull`"):
        take(tmp_path, local=folder_of(tmp_path / "one", {"a/train.jsonl": pointer}))
    moved = {"x/data/train.jsonl": TRAIN, "README.md": OTHER}
    with pytest.raises(Misconfigured, match=r"layout of GitHub.*x/data/train\.jsonl.*model hub"):
        take(tmp_path, patterns=("a/train.jsonl",), local=folder_of(tmp_path / "two", moved))
    cloned = {".git/config": b"", "README.md": OTHER}
    with pytest.raises(Misconfigured, match=r"layout of GitHub.*it has \.git"):
        take(tmp_path, local=folder_of(tmp_path / "three", cloned))
