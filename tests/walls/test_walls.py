"""The walls between the rooms hold, and each check of one is shown able to fail."""

import ast
import importlib.util
import re
import tomllib
from collections import Counter
from copy import deepcopy
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest
from importlinter.configuration import configure
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.layers import LayersContract

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "aarlab"
OPTIONS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
KINDS = {"layers": LayersContract, "forbidden": ForbiddenContract}
OTHERS = {"harbor_task.py", "mine.py", "setup.py", "topics.py"}  # files that are not the tree's
MODULE = re.compile(r"(?<![\w/.*{])([a-z_][a-z0-9_]*\.py)\b")
SHARED_NAMES = {"__init__.py", "__main__.py", "serve.py"}

configure()


@pytest.fixture(scope="module")
def graph():
    """Every import of the package, also those under TYPE_CHECKING and inside functions."""
    return grimp.build_graph("aarlab", include_external_packages=True, cache_dir=None)


def broken(graph: grimp.ImportGraph) -> set[str]:
    """Names of the project's contracts that do not hold for `graph`."""
    session = {"root_packages": ["aarlab"], "include_external_packages": True}
    found = set()
    for options in OPTIONS["contracts"]:
        stated = {
            k: str(v) if isinstance(v, bool) else v
            for k, v in options.items()
            if k not in ("name", "type")
        }
        contract = KINDS[options["type"]](options["name"], session, stated)
        if not contract.check(deepcopy(graph), verbose=False).kept:
            found.add(options["name"])
    return found


def test_the_contracts_hold(graph):
    assert broken(graph) == set()


@pytest.mark.parametrize(
    ("importer", "imported", "contract"),
    [
        (
            "aarlab.evaluation.scoring.grade",
            "torch",
            "The evaluator and the lab know neither models nor methods",
        ),
        ("aarlab.lab.app", "aarlab.methods.parts", "Layers"),
        (
            "aarlab.lab.app",
            "aarlab.evaluation.evaluator",
            "The lab's process names no label: it asks the evaluator's",
        ),
        ("aarlab.core.pgr", "aarlab.evaluation.scoring.grade", "Layers"),
        ("aarlab.diversity.language_model", "aarlab.sandbox.sandbox", "Layers"),
        ("aarlab.gateway.gateway_app", "aarlab.lab.lab_handlers", "Layers"),
        ("aarlab.researchers.search", "aarlab.evaluation.evaluator", "Layers"),
        ("aarlab.core.hub", "aarlab.models.preset", "Layers"),
        (
            "aarlab.evaluation.ledger.ledger",
            "aarlab.evaluation.scoring.meter",
            "Layers of the evaluation",
        ),
        ("aarlab.redteam.system", "torch", "Only models import torch"),
        (
            "aarlab.methods.parts",
            "aarlab.evaluation.scoring.hidden_labels",
            "A method cannot name a hidden label",
        ),
        (
            "aarlab.researchers.search",
            "aarlab.gateway.client",
            "Researchers reach the lab over HTTP only",
        ),
    ],
)
def test_each_contract_can_fail(graph, importer, imported, contract):
    changed = deepcopy(graph)
    assert {importer, imported} <= changed.modules
    changed.add_import(importer=importer, imported=imported)
    assert contract in broken(changed)


def test_every_contract_is_shown_to_fail():
    (parameters,) = (mark.args[1] for mark in test_each_contract_can_fail.pytestmark)
    assert {contract for _, _, contract in parameters} == {
        options["name"] for options in OPTIONS["contracts"]
    }


def test_rooms_import_each_other_in_one_direction(graph):
    rooms = {module.split(".")[1] for module in graph.modules if module.startswith("aarlab.")}
    assert len(rooms) > 15
    above = {room: set() for room in rooms}
    for importer in graph.modules:
        if importer.startswith("aarlab."):
            imported = graph.find_modules_directly_imported_by(importer)
            above[importer.split(".")[1]] |= {
                m.split(".")[1] for m in imported if m.startswith("aarlab.")
            }
    assert [(a, b) for a in rooms for b in above[a] if a != b and a in above[b]] == []


def twice(names: list[str]) -> set[str]:
    """Names that more than one module has, and may not."""
    return {name for name, count in Counter(names).items() if count > 1} - SHARED_NAMES


def ordered(graph: grimp.ImportGraph) -> TopologicalSorter:
    """Raises CycleError where modules import each other in a circle."""
    made = TopologicalSorter({m: graph.find_modules_directly_imported_by(m) for m in graph.modules})
    made.prepare()
    return made


def test_no_modules_import_each_other_in_a_circle():
    """Neither inside functions nor for annotations alone."""
    graph = grimp.build_graph("aarlab", cache_dir=None)
    assert ordered(graph).is_active()
    graph.add_import(importer="aarlab.core.plain_text", imported="aarlab.core.strict_json")
    with pytest.raises(CycleError, match="aarlab.core.plain_text"):
        ordered(graph)


def test_no_two_modules_share_a_name():
    modules = [
        p for p in PACKAGE.rglob("*.py") if "shipped" not in p.parts
    ]  # folders have the same
    assert twice([path.name for path in modules]) == set()
    assert twice(["a.py", "serve.py", "serve.py", "a.py"]) == {"a.py"}


def public_classes(package: Path) -> list[str]:
    """Names of the classes of all modules; the files of a problem that ships are no modules."""
    return [
        node.name
        for path in package.rglob("*.py")
        if "shipped" not in path.relative_to(package).parts
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]


def test_no_two_public_classes_share_a_name():
    """What a class is stands in its name: a reader knows it without the module's."""
    names = public_classes(PACKAGE)
    assert {"Evaluator", "Problem", "ParentPipe"} <= set(names)
    assert twice(names) == set()


def test_a_class_name_that_stands_twice_is_found(tmp_path):
    (tmp_path / "shipped").mkdir()
    for path in ("a.py", "b.py", "shipped/c.py"):
        (tmp_path / path).write_text(f"class _Row:\n    pass\n\n\nclass Of_{path[0]}:\n    pass\n")
    assert twice(public_classes(tmp_path)) == set()
    with (tmp_path / "b.py").open("a") as file:
        file.write("\n\nclass Of_a(dict):\n    pass\n")
    assert twice(public_classes(tmp_path)) == {"Of_a"}


def test_no_two_test_files_share_a_name():
    assert twice([path.name for path in (ROOT / "tests").rglob("*.py")]) - {"conftest.py"} == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", sorted((ROOT / "experiments").glob("*.py")), ids=lambda path: path.stem
)
def test_every_experiment_can_be_imported(path):
    spec = importlib.util.spec_from_file_location(f"experiment_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.__doc__, "it says which question it answers"


def test_only_settings_read_the_environment():
    readers = {
        str(p.relative_to(PACKAGE))
        for p in PACKAGE.rglob("*.py")
        if "os.environ[" in (text := p.read_text()) or "os.getenv" in text or "environ.get" in text
    }
    assert readers == {"core/settings.py"}


def test_the_design_page_has_the_layers_of_the_contracts():
    """docs/design.md shows two orders; they are those that are checked."""
    orders = ["\n".join(c["layers"]) for c in OPTIONS["contracts"] if c["type"] == "layers"]
    page = (ROOT / "docs/design.md").read_text().split("## Layers")[1].split("## Walls")[0]
    assert [block.strip() for block in page.split("```")[1::2]] == orders


def test_a_module_that_a_text_of_the_package_names_exists():
    """A docstring or comment that sends its reader to a file that was renamed costs an hour."""
    there = {path.name for path in ROOT.glob("[set]*/**/*.py")} | OTHERS
    missing = [
        f"{path}: {name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for name in MODULE.findall(path.read_text())
        if name not in there
    ]
    assert missing == []
