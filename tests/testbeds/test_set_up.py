"""Set-up in two steps: what researchers need, then `final`. Together they make what one makes."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aarlab.core.errors import Misconfigured
from aarlab.core.layout import InputsFolder
from aarlab.core.settings import Home
from aarlab.fleet.measure_baselines import why_again
from aarlab.models import smollm
from aarlab.problems import PROBLEMS
from aarlab.problems.problem import KnownLogits
from aarlab.runs.engine import LocalEngine
from aarlab.testbeds import student
from aarlab.testbeds.ablation import ablate
from aarlab.testbeds.gap import AnchorScores
from aarlab.testbeds.set_up import SetUp, prepare
from aarlab.testbeds.student import COUNTING
from aarlab.testbeds.task_data import read_inputs
from aarlab.testbeds.testbed import Testbed


def set_up(home: Home, *, whole: bool, reader=COUNTING, seed=1, **more) -> Testbed:
    say = lambda *_: None  # noqa: E731
    made = {"home": home, "student": reader, "progress": say, "whole": whole, **more}
    return prepare("generated-chat", seed, **made)


@pytest.fixture(scope="module")
def first_step(tmp_path_factory) -> Path:
    """The home of a testbed that lacks what needs a reading of `final`."""
    made = tmp_path_factory.mktemp("first")
    set_up(Home(made), whole=False)
    return made


@pytest.fixture(scope="module")
def at_once(tmp_path_factory) -> dict[str, bytes]:
    """What a testbed consists of that was set up whole."""
    made = set_up(Home(tmp_path_factory.mktemp("whole")), whole=True)
    assert made.whole
    return contents(made.folder)


@pytest.fixture
def part(first_step, tmp_path) -> Testbed:
    """A testbed without `final` in a home of its own."""
    shutil.copytree(first_step, tmp_path / "home")
    return set_up(Home(tmp_path / "home"), whole=False)


def contents(folder: Path) -> dict[str, bytes]:
    """Of the files that do not name a time or a process."""
    left_out = {"build.json", "set_up.lock"}
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in left_out
    }


@pytest.mark.slow
def test_two_steps_make_the_same_testbed_as_one(part, at_once, tmp_path):
    assert not part.whole
    before = contents(part.folder)
    made = set_up(Home(tmp_path / "home"), whole=True)
    assert made.folder == part.folder
    assert contents(made.folder) == at_once
    after = contents(made.folder)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"private/anchors.npz"}, "what researchers see stays as it was"
    assert set_up(Home(tmp_path / "home"), whole=True).from_cache


def test_without_final_it_is_found_again_but_is_not_taken_for_whole(part, tmp_path):
    assert set_up(Home(tmp_path / "home"), whole=False).from_cache
    sealed, public = InputsFolder(part.sealed), InputsFolder(part.public)
    assert not sealed.zero_shot_logits("final").exists()
    assert public.zero_shot_logits("feedback").exists()
    assert [t for t in AnchorScores(part).troubles if "final" in t] == []
    with np.load(part.anchors) as anchors:
        assert {name.split("_")[0] for name in anchors.files} == {"feedback"}
    for ask in (
        lambda: part.fingerprint,
        lambda: part.fingerprint_for("final"),
        part.require_whole,
        lambda: ablate(part, "ablated"),
        lambda: read_inputs(part.sealed, "final"),
    ):
        with pytest.raises(Misconfigured):
            ask()


def test_a_run_on_final_waits_for_final_and_one_on_feedback_is_kept(part, tmp_path):
    def never(spec):
        raise AssertionError(spec)

    engine = LocalEngine(part, tmp_path / "runs", never, workers=1)
    with pytest.raises(Misconfigured, match="not set up yet"):
        engine.run({"method.py": ""}, "final", (1,))
    key = part.fingerprint_for("feedback")
    whole = set_up(Home(tmp_path / "home"), whole=True)
    assert whole.fingerprint_for("feedback") == key
    assert whole.fingerprint_for("final") == whole.fingerprint != key
    engine.close()


@pytest.mark.slow
def test_a_second_step_that_was_killed_is_done_again(part, at_once, tmp_path, monkeypatch):
    class Killed(BaseException):
        """As by a signal."""

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("aarlab.testbeds.set_up._write_anchors", killed)
        with pytest.raises(Killed):
            set_up(Home(tmp_path / "home"), whole=True)
    assert not Testbed(part.folder, from_cache=True).whole
    assert contents(set_up(Home(tmp_path / "home"), whole=True).folder) == at_once


def test_final_is_not_added_where_the_other_items_are_read_differently(part, tmp_path):
    def rounded(*asked):
        found = COUNTING.read(*asked)
        hidden = {
            layer: h * np.float16(1.001) + np.float16(0.1) for layer, h in found.hidden.items()
        }
        hidden = {layer: np.round(h, 1) for layer, h in hidden.items()}
        return replace(found, hidden=hidden)

    reader = replace(COUNTING, read=rounded)
    with pytest.raises(Misconfigured, match=r"read differently than when the campaign began"):
        set_up(Home(tmp_path / "home"), whole=True, reader=reader)
    assert not part.whole


@pytest.mark.slow
def test_the_campaign_keeps_its_testbed_and_labels_their_meter_also_without_final(part, tmp_path):
    facts = json.loads(part.part_ready.read_text())
    modules = facts["code"]["modules"] | {"aarlab.testbeds.set_up": "of another version"}
    part.part_ready.write_text(json.dumps(facts | {"code": facts["code"] | {"modules": modules}}))
    home = Home(tmp_path / "home")
    kept = set_up(home, whole=False, begun=part.folder.name)
    assert (kept.folder, kept.from_cache) == (part.folder, True)
    other = set_up(home, whole=False)
    assert other.folder != part.folder
    assert other.meter.parent.resolve() == part.meter.parent.resolve()
    whole = set_up(home, whole=True, begun=part.folder.name)
    assert whole.folder == part.folder
    assert json.loads(whole.ready.read_text())["final_code"] == facts["code"], "of this code"


@pytest.mark.long
def test_a_campaign_goes_on_with_an_earlier_version_of_its_problem(tmp_path, monkeypatch):
    home = Home(tmp_path)
    older = set_up(home, whole=True)
    newer = replace(PROBLEMS["generated-chat"], version="next")
    monkeypatch.setitem(PROBLEMS._things, "generated-chat", newer)
    assert set_up(home, whole=True, begun=older.folder.name).folder == older.folder
    assert "-vnext-" in set_up(home, whole=True).folder.name


def test_baselines_on_final_are_lacking_once_it_is_set_up(part, tmp_path):
    assert why_again(part) == ""
    np.savez(part.baselines, **{"feedback/naive": np.ones((1, 2), bool)})
    assert why_again(part) is not None, "nobody recorded which code ran them"
    from aarlab.fleet.measure_baselines import code_of_baselines

    part.baselines_code.write_text(code_of_baselines(part).model_dump_json())
    assert why_again(part) is None
    assert why_again(set_up(Home(tmp_path / "home"), whole=True)) == ""


def test_what_is_read_ahead_is_what_the_second_step_asks_for(part, tmp_path):
    asked = []

    def read(what):
        asked.append([i.id for i in what.items])
        return COUNTING.read(what)

    reader, say = replace(COUNTING, read=read), lambda *_: None
    from aarlab.problems.publish import read_private_items

    items = read_private_items(part.folder)
    SetUp(PROBLEMS["generated-chat"], reader, part, 1, part.code, say).read_final(items)
    set_up(Home(tmp_path / "home"), whole=True, reader=reader)
    ahead, first, final = asked
    assert ahead == final
    assert not set(first) & set(final)


# --- logits that a problem knows ------------------------------------------------------------------


@pytest.fixture
def reading(tmp_path, monkeypatch):
    """(logits' weights) -> the reading of a problem that knows the logits of its texts, and what
    the student was asked to read."""
    problem = PROBLEMS["generated-chat"]
    items = problem.build(tmp_path, 1)
    calls = []

    def read_snippets(asked, *, zero_shot_logit_T=None, **_):
        calls.append(([c for _, c in asked], zero_shot_logit_T))
        shape = (len(smollm.LAYERS), len(asked), 4)
        logit_T = np.full(len(asked), 7.0, np.float32)
        known = logit_T if zero_shot_logit_T is None else zero_shot_logit_T
        profile_TP = np.zeros((len(asked), 0), np.float32)
        return smollm.Features(np.ones(shape, np.float16), known, profile_TP)

    monkeypatch.setattr(smollm, "read_snippets", read_snippets)
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "source.json").write_text(json.dumps({"source": "here", "weights_sha256": "these"}))
    for name in ("ensure_weights", "random_weights"):
        monkeypatch.setattr(student.smollm_weights, name, lambda cache: folder)

    def made(weights: str):
        known = KnownLogits(weights, lambda _, texts: np.array([len(t) for t in texts], np.float32))
        reader = student.smollm2(Home(tmp_path), 1)
        say = lambda *_: None  # noqa: E731
        texts = [c for i in items for c in i.choices]
        chat = replace(problem, zero_shot=known, corpus=lambda *_: texts)
        return reader.read(student.ToRead(chat, items, items, 1, say)), items, calls

    return made


def test_known_logits_are_the_students_and_it_reads_no_text_of_the_teachers(reading):
    found, items, [(texts, known_T)] = reading("these")
    studied = [i for i in items if i.split != "teacher"]
    assert texts == [c for i in studied for c in i.choices]
    assert known_T.tolist() == [len(t) for t in texts]
    assert found.zero_shot_logit_NC.tolist() == [[len(c) for c in i.choices] for i in items]
    for layer in smollm.LAYERS:
        lacking = np.isnan(found.hidden[layer]).any(axis=(1, 2))
        assert lacking.tolist() == [i.split == "teacher" for i in items]


def test_logits_of_other_weights_are_not_used(reading):
    found, items, [(texts, known_T)] = reading("others")
    assert known_T is None
    assert len(texts) == 2 * len(items)
    assert (found.zero_shot_logit_NC == 7.0).all()
