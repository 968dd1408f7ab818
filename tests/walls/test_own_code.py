"""Our own code is in every key: what is loaded and opened lies within the closure that is hashed,
and what another line of code made is never taken from a cache."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aarlab.bench.measure import files_of
from aarlab.bench.run import code_of_controls
from aarlab.core import own_code
from aarlab.core.errors import Misconfigured
from aarlab.core.own_code import CodeRecord, again, code_of, code_of_files, remember, stamped
from aarlab.fleet.measure_baselines import code_of_baselines
from aarlab.methods.baselines import source_of
from aarlab.models.feature_store import REGISTRIES
from aarlab.models.worker_requests import worker_code
from aarlab.runs.engine import code_of_run
from aarlab.testbeds.critiques import TRAINS, WRITES
from aarlab.testbeds.set_up import code_for
from aarlab.testbeds.set_up import prepare as prepare_testbed
from aarlab.testbeds.student import COUNTING

ROOT = Path(__file__).parents[2] / "src" / "aarlab"


def run(script: str, *words: str, tree: Path | None = None, home: Path | None = None) -> str:
    """What a Python process prints that imports the aarlab in `tree`."""
    env = os.environ | {"PYTHONPATH": str(tree or ROOT.parent), "AAR_HOME": str(home or tree)}
    done = subprocess.run(
        [sys.executable, "-c", script, *words], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def tree(tmp_path):
    """A folder with an aarlab of its own."""
    shutil.copytree(
        ROOT, tmp_path / "tree" / "aarlab", ignore=shutil.ignore_patterns("__pycache__")
    )
    return tmp_path / "tree"


# --- the closure ----------------------------------------------------------------------------------

METHOD_PROCESS = """
import json, sys
from aarlab.runs.execute import main
main()
print(json.dumps(sorted(m for m in sys.modules if m.split(".")[0] == "aarlab")))
"""
CALM = "def run(task, seed):\n    return [0.1] * len(task.test)\n"
IMPORTS = "import importlib\nimportlib.import_module('aarlab.models.' + 'head_training')\n"


@pytest.mark.process
@pytest.mark.parametrize(
    "source",
    [
        source_of("naive"),
        source_of("elicitation"),
        "from aarlab.methods.ensemble import *\nfrom aarlab.methods import evolution\n" + CALM,
        IMPORTS + CALM,
    ],
)
def test_what_a_methods_process_loads_of_ours_is_in_the_runs_key(source, bed, tmp_path):
    (tmp_path / "method.py").write_text(source)
    words = [
        "--method",
        str(tmp_path / "method.py"),
        "--public",
        str(bed.public),
        "--test",
        str(bed.public),
    ]
    said = run(METHOD_PROCESS, *words, "--seeds", "1", "--out", str(tmp_path / "answers.json"))
    loaded, code = set(json.loads(said)), code_of_run(bed, {"method.py": source})
    assert loaded
    assert loaded <= code.modules.keys()
    assert {"numpy", "scipy", "python"} <= code.libraries.keys()


@pytest.mark.process
@pytest.mark.long
def test_what_loads_with_a_module_is_in_its_closure():
    heavy = [
        "aarlab.models.tuned.worker_operations",
        "aarlab.models.tuned.grpo",
        "aarlab.models.tuned.write",
    ]
    script = (
        "import importlib, json, sys\nimportlib.import_module(sys.argv[1])\n"
        + METHOD_PROCESS.splitlines()[-1]
    )
    for name in (
        *heavy,
        "aarlab.bench.controls",
        "aarlab.testbeds.tuned_student",
        "aarlab.testbeds.set_up",
    ):
        assert set(json.loads(run(script, name))) <= code_of(name).modules.keys(), name


OPENED = """
import json, sys
from pathlib import Path
import aarlab.core.own_code as own_code
opened = set()

def see(event, arguments):
    path = arguments[0] if event == "open" else None
    if isinstance(path, (str, Path)) and Path(path).is_relative_to(own_code.ROOT):
        opened.add(Path(arguments[0]).relative_to(own_code.ROOT).as_posix())

sys.addaudithook(see)
"""
SHOWN = "print(json.dumps(sorted(opened)))"
READERS = {
    "aarlab.problems.small_code": (
        "from aarlab.problems import small_code; small_code.shares(0)",
        {
            "problems/code_catalogue/in_distribution.yaml",
            "problems/code_catalogue/out_of_distribution.yaml",
        },
    ),
    "aarlab.problems.small_math": (
        "import aarlab.problems.small_math",
        {"problems/math_situations.yaml"},
    ),
    "aarlab.diversity.families": (
        "from aarlab.diversity import families; families._patterns()",
        {"diversity/lexicon.yaml"},
    ),
}


@pytest.mark.process
@pytest.mark.parametrize("name", READERS)
def test_data_files_read_for_a_result_are_in_its_closure(name):
    script, files = READERS[name]
    assert files <= set(json.loads(run("\n".join((OPENED, script, SHOWN)))))
    assert files <= code_of(name).modules.keys()


# what they say is a field of a campaign, a preset or a script, or is hashed with the prompts
TEMPLATES = "problems/folder/templates/"  # what `aar problem new` writes becomes its author's
KEYED_BY_CONTENT = {
    "evaluation/ledger/migrations/0001_entries.sql",  # a database notes its digest
    "fleet/prompts/draft.md",
    "fleet/prompts/go_on.md",
    "fleet/prompts/start.md",
    "fleet/prompts/start_folder.md",
    "fleet/prompts/terms.md",
    "fleet/prompts/directions/any-problem.yaml",
    "fleet/prompts/directions/weak-to-strong.yaml",
    "models/presets/qwen.yaml",
    "researchers/presets/claude.yaml",
    "researchers/presets/codex.yaml",
    "researchers/presets/gemini.yaml",
    "researchers/presets/opencode.yaml",
    "researchers/presets/mini-swe-agent.yaml",
    "researchers/scripts/experiment.yaml",
    "researchers/scripts/folder-experiment.yaml",
    "report/templates/curve.jinja",  # decide no figure
    "report/templates/report.html.jinja",
    "report/templates/folder.html.jinja",
    "report/templates/folder.md.jinja",
    "report/templates/report.md.jinja",
    "web/static/aar.css",
    "web/static/icon.svg",
    "web/static/live.js",
    "web/templates/actions.html.jinja",
    "web/templates/board.html.jinja",
    "web/templates/campaigns.html.jinja",
    "web/templates/chart.jinja",
    "web/templates/compare.html.jinja",
    "web/templates/confirmations.html.jinja",
    "web/templates/costs.html.jinja",
    "web/templates/forum.html.jinja",
    "web/templates/integrity.html.jinja",
    "web/templates/layout.html.jinja",
    "web/templates/live.html.jinja",
    "web/templates/macros.jinja",
    "web/templates/problem.html.jinja",
    "web/templates/refusal.html.jinja",
    "web/templates/researcher.html.jinja",
    "web/templates/runs.html.jinja",
    "web/templates/submission.html.jinja",
}


def test_every_data_file_of_the_package_is_part_of_the_code_that_reads_it():
    """One that a module finds by a computed name is in no closure: either name it whole, or key
    what it says."""
    shipped = {n for n in own_code.whole_code().modules if "." in n and not n.startswith("aarlab")}
    named = {n for module in own_code._modules() for n in own_code._module(module).data}
    # of a problem in a folder the digest is its key (`FolderProblem.digest`)
    folders = {n for n in shipped if n.startswith(("problems/shipped/", TEMPLATES))}
    assert folders
    assert shipped - named - folders == KEYED_BY_CONTENT
    assert named.isdisjoint(KEYED_BY_CONTENT)


def test_nothing_of_ours_imports_by_a_name_that_is_computed():
    """A closure is read from the text. The registry and `python_file` load a user's own file; the
    package itself loads `aarlab.task`, which no run of ours calls."""
    by_name = {"import_module", "__import__", "run_path", "run_module", "spec_from_file_location"}
    found = {
        path.relative_to(ROOT).as_posix()
        for path in own_code._modules().values()
        if any(name in (text := path.read_text()) for name in by_name)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) in by_name
    }
    assert found == {"__init__.py", "core/registry.py", "core/python_file.py"}


@pytest.mark.process
def test_named_package_stands_for_all_its_modules():
    named = code_of_files({"m.py": "from aarlab.methods import parts"}).modules
    assert {"aarlab.methods.parts", "aarlab.methods.evolution"} <= named.keys()
    assert (
        "aarlab.methods.evolution"
        not in code_of_files({"m.py": "import aarlab.methods.parts"}).modules
    )
    assert "aarlab.cli.main" in code_of_files({"m.py": "__import__('aarlab' + '.x')"}).modules
    assert "torch" in code_of_files({"m.py": "import torch"}).libraries


# --- what changes which key -----------------------------------------------------------------------


class Frozen:
    preset = None


class Tuned:
    preset = "qwen"


def keys() -> dict[str, str]:
    """What stands for our code in each key, by what is kept under it."""
    found = {
        "run": code_of_run(Frozen, {"method.py": "from aarlab.methods.parts import harden"}),
        "tuned run": code_of_run(Tuned, {"method.py": ""}),
        "baselines": code_of_baselines(Frozen),
        "bench": code_of_run(Frozen, files_of("naive")),
        "controls": code_of_controls(),
        "testbed": code_for("generated-chat", COUNTING),
        "other testbed": code_for("small-code", COUNTING),
        "features": code_of("aarlab.models.smollm", alone=REGISTRIES),
        "fine-tuning": worker_code(),
        "tokens": code_of("aarlab.models.tuned.tokens"),
        "critic": code_of(TRAINS),
        "critiques": code_of(TRAINS, WRITES),
        "ablation": code_of(alone=("aarlab.testbeds.ablation",)),
        "source": own_code.whole_code(),
    }
    return {what: code.digest for what, code in found.items()}


RUNS = {"run", "baselines", "bench", "controls"}
TUNED = {"fine-tuning", "tuned run", "critic", "critiques"}
CHANGES = {
    "cli/main.py": set(),
    "report/templates/report.md.jinja": set(),
    "evaluation/ledger/ledger.py": set(),
    "evaluation/scoring/hidden_labels.py": {"controls"},
    "methods/parts.py": RUNS | {"testbed", "other testbed"},
    "methods/evolution.py": {"controls"},
    "testbeds/task_data.py": RUNS | {"testbed", "other testbed", "tuned run"},
    "runs/execute.py": RUNS - {"controls"} | {"tuned run"},
    "testbeds/anchors.py": {"testbed", "other testbed", "controls"},
    "problems/code_catalogue/in_distribution.yaml": {"other testbed"},
    "problems/run_cases.py": {"other testbed"},
    "problems/math_situations.yaml": set(),
    "models/smollm.py": {"features", "testbed", "other testbed", "controls"},
    "models/tuned/training.py": TUNED,
    "models/tuned/prompts.py": TUNED | {"tokens"},
    "models/tuned/vllm_writer.py": {"critic", "critiques"},
    "testbeds/ablation.py": {"ablation"},
}


@pytest.fixture
def hashed(tree, monkeypatch):
    """A function that forgets what was hashed; the package is the one in `tree`."""
    kept = own_code._modules, own_code._module, own_code.code_of, own_code.whole_code

    def forget():
        for one in kept:
            one.cache_clear()

    monkeypatch.setattr(own_code, "ROOT", tree / "aarlab")
    forget()
    yield forget
    forget()


@pytest.mark.process
@pytest.mark.long
def test_a_key_changes_with_the_code_that_decides_it_and_with_no_other(tree, hashed):
    before, found = keys(), {}
    for module in CHANGES:
        path = tree / "aarlab" / module
        text = path.read_text()
        path.write_text(text + "\n# changed\n")
        hashed()
        found[module] = {what for what, digest in keys().items() if digest != before[what]} - {
            "source"
        }
        assert keys()["source"] != before["source"]
        path.write_text(text)
    assert found == CHANGES
    hashed()
    assert keys() == before


def test_a_librarys_version_is_in_the_key_and_is_named():
    code = code_of("aarlab.runs.execute")
    older = code.model_copy(update={"libraries": code.libraries | {"numpy": "1.26.4"}})
    assert older.digest != code.digest
    assert code.since(older) == f"numpy was 1.26.4 and is {code.libraries['numpy']}"


def test_what_is_made_again_names_what_changed(tmp_path):
    old = CodeRecord(modules={"a": "1", "b": "1"}, libraries={})
    new = CodeRecord(modules={"a": "2", "b": "1"}, libraries={})
    assert again(tmp_path, "key", new, suffix=".npz") is None
    remember(tmp_path, old)
    (tmp_path / f"{stamped('key', old)}.npz").touch()
    assert again(tmp_path, "key", new, suffix=".npz") == "a changed"
    (tmp_path / "older.npz").touch()
    assert "an older version, which did not record its code" in str(
        again(tmp_path, "older", new, suffix=".npz")
    )
    many = CodeRecord(modules={f"m{n}": "1" for n in range(7)}, libraries={})
    assert (
        many.since(CodeRecord(modules={}, libraries={}))
        == "m0, m1, m2, m3 and 3 more modules changed"
    )


@pytest.mark.process
def test_code_that_changed_under_a_running_process_fills_no_cache(tree):
    script = """
import sys
from pathlib import Path
from aarlab.core.errors import Misconfigured
from aarlab.core.own_code import ROOT, code_of
code = code_of("aarlab.runs.execute")
code.require_unchanged()
(ROOT / "models" / "head_training.py").write_text("# changed")
try:
    code.require_unchanged()
except Misconfigured as error:
    print(error)
"""
    assert "aarlab.models.head_training was changed while this process ran" in run(
        script, tree=tree
    )


def test_a_data_file_that_changed_under_a_running_process_is_named(tree, hashed):
    code = code_of("aarlab.problems.small_math")
    code.require_unchanged()
    path = tree / "aarlab" / "problems" / "math_situations.yaml"
    path.write_text(path.read_text().replace("[2, 10]", "[2, 11]"))
    with pytest.raises(
        Misconfigured, match=r"problems/math_situations\.yaml was changed while this process ran"
    ):
        code.require_unchanged()
    hashed()
    assert (
        code_of("aarlab.problems.small_math").since(code) == "problems/math_situations.yaml changed"
    )


def test_an_unknown_module_is_refused():
    with pytest.raises(Misconfigured, match=r"no module aarlab\.nothing"):
        code_of("aarlab.nothing")


# --- a changed line, from end to end --------------------------------------------------------------

PREPARE = """
import json, sys
from rich.console import Console
import aarlab.fleet.measure_baselines as baselines
from aarlab.fleet.prepare import prepared
from aarlab.cli.show import Show
from aarlab.core.settings import home
from aarlab.evaluation.evaluator import (Evaluator)
from aarlab.fleet.campaign import Campaign
baselines.NAMES, baselines.TUNED_L2, baselines.TUNED_LAYERS = ("naive",), (1.0,), (16,)
campaign = Campaign(name=sys.argv[1], problem="generated-chat", student="double")
bed = prepared(campaign, home(), Show(Console(width=400)))
Evaluator(bed.folder, home().campaigns / sys.argv[1]).close()
accuracy = float(baselines.load_baselines(bed)["final/naive"].mean())
meter = str((bed.private / "meter").resolve())
print(json.dumps([bed.folder.name, meter, accuracy, bed.build.source]))
"""
HARDEN = "return (labels_N > 0.5).astype(np.float64)"


def prepare(tree: Path, home: Path, name: str) -> tuple[str, str, str, float, str]:
    *lines, last = run(PREPARE, name, tree=tree, home=home).splitlines()
    return "\n".join(lines), *json.loads(last)


@pytest.mark.long
@pytest.mark.process
def test_changed_code_needs_new_baselines(tree, tmp_path):
    home = tmp_path / "home"
    _, folder, meter, accuracy, _ = prepare(tree, home, "one")
    said, *again = prepare(tree, home, "one")
    assert "baselines: from cache" in said
    assert again[:3] == [folder, meter, accuracy]
    parts = tree / "aarlab" / "methods" / "parts.py"
    assert HARDEN in parts.read_text()
    parts.write_text(parts.read_text().replace(HARDEN, HARDEN.replace(">", "<")))

    said, other, shared, inverted, _ = prepare(tree, home, "two")
    assert "testbed made again, aarlab.methods.parts changed" in said
    assert "from cache" not in said
    assert inverted == pytest.approx(1 - accuracy)
    assert other != folder
    assert shared == meter, "what was told of the same labels is counted in one place"

    said, kept, _, now, _ = prepare(tree, home, "one")
    assert kept == folder
    assert "the campaign was begun on it; made by other code: aarlab.methods.parts changed" in said
    assert "baselines: run again, aarlab.methods.parts changed" in said
    assert now == inverted


def test_older_testbed_serves_only_its_own_campaigns(home, bed):
    ready = bed.private / "ready.json"
    facts = json.loads(ready.read_text())
    del facts["code"]
    ready.unlink()  # a link to another test's
    ready.write_text(json.dumps(facts))
    said = []

    def prepared(begun: str | None):
        say = lambda what, done, of: said.append(what)  # noqa: E731
        return prepare_testbed(
            "generated-chat", 1, home=home, student=COUNTING, progress=say, begun=begun
        )

    kept = prepared(bed.folder.name)
    assert (kept.folder, kept.from_cache, kept.code, said) == (bed.folder, True, None, [])
    made = prepared(None)
    assert made.folder != bed.folder
    assert (
        said[0]
        == "testbed made again, it was made by an older version, which did not record its code"
    )
    assert (prepared(None).folder, prepared(None).from_cache) == (made.folder, True)
    assert prepared("generated-chat-v1-double-seed11").folder == made.folder, (
        "that is another data seed's"
    )


BENCH = "from aarlab.cli.main import main; main()"
BENCHED = [
    "bench",
    "--task",
    "generated-chat",
    "--student",
    "double",
    "--method",
    "naive",
    "--seeds",
    "2",
    "--workers",
    "1",
]


@pytest.mark.process
@pytest.mark.long
def test_bench_says_what_it_runs_again_and_why(tree, tmp_path):
    home = tmp_path / "home"
    run(BENCH, *BENCHED, tree=tree, home=home)
    before = json.loads((home / "benches" / "bench" / "bench.json").read_text())
    baselines = tree / "aarlab" / "methods" / "baselines.py"
    baselines.write_text(
        baselines.read_text().replace(
            "parts.harden(task.weak_probs_N)", "parts.harden(1 - task.weak_probs_N)"
        )
    )
    said = run(BENCH, *BENCHED, tree=tree, home=home)
    assert "methods: 1 runs again, aarlab.methods.baselines changed" in said
    now = json.loads((home / "benches" / "bench" / "bench.json").read_text())
    assert (
        before["tables"][0]["rows"][0]["pgr"]["estimate"]
        > 0
        > now["tables"][0]["rows"][0]["pgr"]["estimate"]
    )
    assert before["code"] != now["code"]
    assert before["build"]["source"] != now["build"]["source"]
    assert now["build"]["source"][:12] in said
