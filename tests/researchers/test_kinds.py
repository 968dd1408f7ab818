"""Every kind that ships passes the examination, the examination can fail, and what a kind says of
an end."""

import json
import sys
from pathlib import Path

import pytest

from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.researchers import claude_code, command, prompted
from aarlab.researchers.check import INSIDE, check_researcher
from aarlab.researchers.claude_session import begun
from aarlab.researchers.command import PRESETS, TESTED, preset
from aarlab.researchers.kinds import RESEARCHERS
from aarlab.researchers.program_files import ProgramFiles, program_files
from aarlab.researchers.researcher import (
    HOME,
    Brief,
    CommandTemplate,
    IncarnationStart,
    Launch,
    Options,
)
from aarlab.sandbox.sandbox import Mount

ECHO = CommandTemplate(
    argv=("sh", "-c", "echo {prompt}"), resume_argv=("sh", "-c", "echo again {prompt}")
)
FIRST = IncarnationStart(incarnation=1, session="s-1", begun=False)
SECOND = IncarnationStart(incarnation=2, session="s-1", begun=True, ended="outage")


@pytest.mark.parametrize("kind", sorted(RESEARCHERS))
def test_every_kind_that_ships_keeps_the_contract(kind):
    if kind in ("claude_code", "scripted"):
        pytest.importorskip("claude_agent_sdk")
    check_researcher(RESEARCHERS[kind](Options(command=ECHO)))


class Broken(RESEARCHERS["search"]):
    """A researcher with one thing wrong."""

    def __init__(self, **wrong) -> None:
        super().__init__(Options())
        for name, act in wrong.items():
            setattr(self, name, act)


def launches(*argv: str, **env: str):
    return lambda inside, start: Launch(argv=argv, env=env)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"mounts": lambda: (Mount(Path("/no/such"), "/x"),)}, "does not exist"),
        ({"mounts": lambda: (Mount(Path("/usr"), "/x", writable=True),)}, "writable"),
        ({"mounts": lambda: (Mount(Path("/usr"), f"{HOME}/x"),)}, "choose an absolute path"),
        ({"prepare": lambda folder, brief: None}, "writes nothing"),
        (
            {"prepare": lambda folder, brief: (folder / "x").write_text("same")},
            "the same files for two",
        ),
        (
            {"prepare": lambda folder, brief: (folder / "x").write_text(str(folder))},
            "different files the second time",
        ),
        ({"launch": launches("")}, "names no program"),
        ({"launch": launches("x", "a\0b")}, "NUL"),
        ({"launch": launches("x", "y" * 200_000)}, "too long"),
        ({"launch": launches("x", **{"a=b": "c"})}, "variable"),
        ({"launch": launches("x", HOME)}, "fixed paths"),
        ({"ended": lambda returncode, tail: "well"}, "none of"),
        ({"ended": lambda returncode, tail: "finished"}, "must be .crashed."),
    ],
)
def test_each_part_of_the_examination_can_fail(wrong, words):
    with pytest.raises(InvalidSubmission, match=words):
        check_researcher(Broken(**wrong))


def test_a_prepare_that_writes_elsewhere_is_seen():
    def prepare(folder, brief):
        (folder / "x").write_text(brief.name)
        (folder.parent / "beside").touch()

    with pytest.raises(InvalidSubmission, match="outside its folder: beside"):
        check_researcher(Broken(prepare=prepare))


# --- claude_code ----------------------------------------------------------------------------------


def result(**fields) -> str:
    return json.dumps(
        {
            "type": "result",
            "subtype": "success",
            "is_error": False,
            "terminal_reason": "completed",
            **fields,
        }
    )


API = {"is_error": True, "terminal_reason": "api_error"}
FAILED = json.dumps(
    {"type": "system", "subtype": "init", "mcp_servers": [{"name": "lab", "status": "failed"}]}
)


@pytest.mark.parametrize(
    ("returncode", "tail", "ended"),
    [
        (0, result(), "again"),
        (0, 'ut off"}\n' + result() + "\nsome words", "again"),
        (1, result(subtype="error_max_turns", is_error=True, terminal_reason="max_turns"), "again"),
        (0, result(subtype="error_during_execution", terminal_reason="aborted_tools"), "again"),
        (1, result(**API, api_error_status=402), "spent"),
        (1, result(**API, api_error_status=429), "outage"),
        (1, result(**API, api_error_status=529), "outage"),
        (1, result(**API, api_error_status=500), "outage"),
        (1, result(**API, api_error_status=None), "outage"),
        (1, result(**API, api_error_status=403), "crashed"),
        (1, result(**API, api_error_status=400), "crashed"),
        (0, FAILED + "\n" + result(), "outage"),
        (137, result(), "crashed"),
        (143, "", "crashed"),
        (0, "", "crashed"),
        (1, "Error: no such option", "crashed"),
    ],
)
def test_how_an_incarnation_of_claude_code_ended(returncode, tail, ended):
    assert RESEARCHERS["claude_code"](Options()).ended(returncode, tail) == ended


def test_no_model_but_the_campaigns_is_ever_asked_for():
    pytest.importorskip("claude_agent_sdk")
    launch = RESEARCHERS["claude_code"](Options(model="claude-x", max_turns=7)).launch(
        INSIDE, FIRST
    )
    assert {launch.env[name] for name in claude_code.MODEL_NAMES} == {"claude-x"}
    words = " ".join(launch.argv)
    assert "--model claude-x --max-turns 7" in words
    assert launch.env["ANTHROPIC_BASE_URL"] == "{gate}"


def test_where_the_cli_is_missing_the_remedy_is_said(monkeypatch):
    monkeypatch.setattr(claude_code.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Misconfigured, match=r"pip install 'aarlab\[claude\]'"):
        RESEARCHERS["claude_code"](Options()).require()


def test_a_script_that_cannot_be_played_is_refused_at_the_start(tmp_path):
    pytest.importorskip("claude_agent_sdk")
    (tmp_path / "bad.yaml").write_text("turns: []")
    with pytest.raises(Misconfigured, match="turns"):
        RESEARCHERS["scripted"](Options(script=str(tmp_path / "bad.yaml"))).require()


def test_whether_a_session_was_begun_is_seen_in_its_file(tmp_path):
    place = tmp_path / ".claude" / "projects" / "-home"
    assert not begun(tmp_path, "s")
    place.mkdir(parents=True)
    (place / "s.jsonl").write_text('{"type":"queue-operation"}\n[1]\n{"type":"us')
    assert not begun(tmp_path, "s")
    assert [p.name for p in place.iterdir()] == ["s.unusable"]
    (place / "s.jsonl").write_text('{"type":"mode"}\n{"type":"user","message":{}}\n{"ty')
    assert begun(tmp_path, "s")
    assert not begun(tmp_path, "t")


# --- command --------------------------------------------------------------------------------------


def test_a_placeholder_or_a_home_folder_may_stand_in_the_programs_name(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "agent").write_text("#!/bin/sh\n")
    (tmp_path / "agent").chmod(0o755)
    for word, program, mounted in (
        ("{python}", sys.executable, []),
        ("{home}/bin/agent", f"{INSIDE.home}/bin/agent", []),
        ("~/agent", str(tmp_path / "agent"), [tmp_path / "agent"]),
    ):
        kind = RESEARCHERS["command"](Options(command=CommandTemplate(argv=(word, "x"))))
        kind.require()
        assert kind.launch(INSIDE, FIRST).argv[-2:] == (program, "x")
        assert [mount.source for mount in kind.mounts()] == mounted


@pytest.mark.parametrize("name", sorted(p.stem for p in PRESETS.glob("*.yaml")))
def test_every_preset_is_a_template_that_takes_the_prompt(name, tmp_path, monkeypatch):
    template = preset(name)
    assert "{prompt}" in template.argv
    assert template.resume_argv is None or "{prompt}" in template.resume_argv
    assert template.provider
    kind = RESEARCHERS["command"](Options(command=name, model="m-1"))
    launch = kind.launch(INSIDE, FIRST)
    assert any(word.rpartition("/")[2] == "m-1" for word in launch.argv)
    assert any("{gate}" in word for word in (*launch.argv, *launch.env.values()))
    assert not any(
        "{model}" in word or "{python}" in word or "{socket}" in word for word in launch.argv
    )
    (tmp_path / "b").mkdir()
    kind.prepare(tmp_path / "b", _brief())
    written = [p for p in (tmp_path / "b").rglob("*") if p.is_file()]
    assert all("{socket}" not in p.read_text() for p in written)
    monkeypatch.setattr(command, "program_files", lambda program: None)
    program = template.argv[0]
    with pytest.raises(Misconfigured, match=f"The program '{program}' is not installed") as refused:
        kind.require()
    assert f"install {TESTED[name].name}" in str(refused.value)


def test_a_node_program_comes_with_its_packages_and_a_python_program_with_its_environment(tmp_path):
    tree = tmp_path / "lib" / "node_modules"
    script, native = tree / "@of" / "agent" / "bin" / "agent.js", tree / "other" / "agent.exe"
    for file, first in ((script, "#!/usr/bin/env node\n"), (native, "\x7fELF")):
        file.parent.mkdir(parents=True)
        file.write_text(first)
        file.chmod(0o755)
    (tmp_path / "agent").symlink_to(script)
    found = program_files(str(tmp_path / "agent"))
    assert found is not None
    assert found.argv[-1] == str(script)  # the link's target: the link itself is not inside
    assert tree in found.paths
    assert program_files(str(native)) == ProgramFiles((str(native),), (tree,))
    environment = tmp_path / "venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "pyvenv.cfg").touch()
    python, mini = environment / "bin" / "python", environment / "bin" / "mini"
    python.symlink_to("/usr/bin/env")
    mini.write_text(f"#!{python}\n")
    mini.chmod(0o755)
    assert program_files(str(mini)) == ProgramFiles((str(python), str(mini)), (environment,))
    assert program_files("no-such-agent") is None


def test_settings_that_are_read_in_the_home_are_written_there_before_each_incarnation(
    tmp_path, monkeypatch
):
    template = CommandTemplate(argv=("sh",), home_files={".agent/settings.json": "{model}"})
    kind = RESEARCHERS["command"](Options(command=template, model="m-1"))
    (tmp_path / "b").mkdir()
    kind.prepare(tmp_path / "b", _brief())
    launch = kind.launch(INSIDE, SECOND)
    at = launch.argv.index("--home")
    assert launch.argv[at + 1] == f"{INSIDE.brief}/home"
    home = tmp_path / "home"
    (home / ".agent").mkdir(parents=True)
    (home / ".agent" / "settings.json").write_text("changed meanwhile")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(prompted.os, "execvp", lambda program, argv: None)
    given = ["--prompt", str(tmp_path / "b" / "prompt.md"), "--home", str(tmp_path / "b" / "home")]
    monkeypatch.setattr(prompted.argparse._sys, "argv", ["prompted", *given, "--", "sh"])
    prompted.main()
    assert (home / ".agent" / "settings.json").read_text() == "m-1"


def _brief() -> Brief:
    return Brief(name="ann", direction="Look around.", family=None, seed=7, experiments=3)


def test_template_resumes_with_resume_argv_and_its_last_ending():
    kind = RESEARCHERS["command"](Options(command=ECHO))
    first, second = kind.launch(INSIDE, FIRST).argv, kind.launch(INSIDE, SECOND).argv
    assert first[-1] == "echo {prompt}"
    assert f"{INSIDE.brief}/prompt.md" in first
    assert second[-1] == "echo again {prompt}"
    assert f"{INSIDE.brief}/go_on.md" in second
    assert any("could not be reached" in word for word in second)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "need options.command"),
        ({"command": "vim"}, "one of claude, codex, gemini"),
        (
            {"command": CommandTemplate(argv=("/no/such/agent",))},
            "The program '/no/such/agent' is not installed",
        ),
        (
            {"command": CommandTemplate(argv=("sh",), programs=("/no/such/folder",))},
            "does not exist",
        ),
    ],
)
def test_a_command_that_cannot_be_started_is_refused_at_the_start(options, words):
    with pytest.raises(Misconfigured, match=words):
        RESEARCHERS["command"](Options(**options)).require()


def test_a_templates_files_stay_in_the_brief(tmp_path):
    (tmp_path / "brief").mkdir()
    kind = RESEARCHERS["command"](
        Options(command=CommandTemplate(argv=("sh",), files={"../x": ""}))
    )
    with pytest.raises(Misconfigured, match="is outside"):
        kind.prepare(tmp_path / "brief", _brief())
    kind = RESEARCHERS["command"](
        Options(command=CommandTemplate(argv=("sh",), files={"a/b.json": "{home} {mcp_config}"}))
    )
    kind.prepare(tmp_path / "brief", _brief())
    assert (tmp_path / "brief" / "a" / "b.json").read_text() == f"{HOME} /brief/mcp.json"


@pytest.mark.parametrize(
    ("returncode", "tail", "ended"),
    [
        (0, "error 500", "again"),
        (1, "API Error: 402 ann: budget of $0.03 is spent", "spent"),
        (1, "unexpected status 503 Service Unavailable", "outage"),
        (1, '{"error":{"code":429}}', "outage"),
        (1, "Connection refused", "outage"),
        (1, "TypeError: x is undefined at line 503", "crashed"),
        (137, "", "crashed"),
    ],
)
def test_how_an_incarnation_of_a_command_ended(returncode, tail, ended):
    assert RESEARCHERS["command"](Options(command=ECHO)).ended(returncode, tail) == ended
