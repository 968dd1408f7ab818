"""Paths in the environment: `~` is the home folder, and an empty variable is one that is not
set."""

from pathlib import Path

import pytest

from aarlab.core import settings
from aarlab.core.errors import Misconfigured


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory two levels below `tmp_path`, whose user has a home folder of its own."""
    folder = tmp_path / "project" / "here"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    settings._nearest.cache_clear()
    yield folder
    settings._nearest.cache_clear()


@pytest.mark.parametrize(
    ("said", "root"),
    [
        ("~/lab", "user/lab"),
        ("~", "user"),
        ("x", "project/here/x"),
        ("", "user/.local/share/aar"),
        (" ", "user/.local/share/aar"),
    ],
)
def test_aar_home_is_the_folder_that_is_meant(here, tmp_path, monkeypatch, said, root):
    monkeypatch.setenv("AAR_HOME", said)
    assert settings.home().root == tmp_path / root


@pytest.mark.parametrize("said", ["", "x"])
def test_a_working_directory_that_was_removed_is_said(here, monkeypatch, said):
    monkeypatch.setenv("AAR_HOME", said)
    (here / "gone").mkdir()
    monkeypatch.chdir(here / "gone")
    (here / "gone").rmdir()
    with pytest.raises(Misconfigured, match="working directory was removed"):
        settings.home()
    monkeypatch.setenv("AAR_HOME", str(here))
    assert settings.home().root == here


def test_without_aar_home_state_is_in_the_nearest_aar_folder_of_this_user(
    here, tmp_path, monkeypatch
):
    monkeypatch.delenv("AAR_HOME", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert settings.home().root == tmp_path / "data" / "aar"
    (here.parent / ".aar").mkdir()
    assert settings.home().root == tmp_path / "data" / "aar", "a run keeps the folder it began with"
    settings._nearest.cache_clear()
    assert settings.home().root == here.parent / ".aar"
    monkeypatch.setattr("os.geteuid", lambda: (here.parent / ".aar").stat().st_uid + 1)
    settings._nearest.cache_clear()
    assert settings.home().root == tmp_path / "data" / "aar", "not another user's"


def test_no_other_variable_that_is_empty_or_has_a_tilde_is_taken_literally(tmp_path, monkeypatch):
    for name in ("AAR_DATA_FROM", "AAR_GATE_SOCKET", "AAR_DISK_RESERVE_GIB", "AAR_DOCKER_IMAGE"):
        monkeypatch.setenv(name, "")
    assert settings.data_from() is None
    assert settings.disk_reserve() is None
    assert settings.gate_socket() == Path("/run/gate/lab.sock")
    assert settings.docker_image() == "debian:stable-slim"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1\n")  # as a file of secrets ends
    monkeypatch.setenv("GEMINI_API_KEY", " ")
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    assert settings.model_keys() == {"openai": "sk-1"}
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AAR_DATA_FROM", "~")
    assert settings.data_from() == tmp_path


@pytest.mark.parametrize("path", ["", "  ", "a\0b", "caf\udce9", "~nobody-of-this-name/x"])
def test_what_is_no_path_is_refused_with_the_setting(path):
    with pytest.raises(Misconfigured, match="directions is"):
        settings.expanded(path, "directions")
