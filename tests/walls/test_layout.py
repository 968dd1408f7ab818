"""A name on disk stands in one module, core/layout.py or, of what several machines share,
core/cluster_layout.py; and the check of that is shown able to fail."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from aarlab.core import layout

PACKAGE = Path(layout.__file__).parents[1]
LAYOUTS = ("core/layout.py", "core/cluster_layout.py")
FILES = r"[\w-]+(?:\.[a-z_]+)+"  # a name with an extension
ELSEWHERE = {  # names of the layout that others give to files of theirs
    # of a model, as the hub has it
    "config.json": {"models", "core/hub.py", "cli/doctor_preset.py"},
    # in a researcher's home; a name that an attacker guesses
    "answers.json": {"researchers/code_run.py", "redteam"},
    "progress.json": {"researchers/search.py"},  # in a researcher's home
    "operator.token": {"redteam/inside"},  # what attackers look for inside a sandbox
    "brief.json": {"redteam/inside"},
    "prompt.md": {"redteam/inside"},
    "go_on.md": {"fleet/directions.py"},  # the template from which the brief's is made
}


def paths_in(source: str) -> Iterator[str]:
    """The last part of every string of a module that is a path: docstrings and sentences are
    none."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value.rpartition("/")[2]


def names() -> set[str]:
    """The file names that the layouts have."""
    return {
        name
        for module in LAYOUTS
        for name in paths_in((PACKAGE / module).read_text())
        if re.fullmatch(FILES, name)
    }


def spelled(package: Path, known: set[str]) -> set[tuple[str, str]]:
    """(name, module) of each name that a module spells beside the layout, and may not."""
    found = set()
    for path in package.rglob("*.py"):
        module = path.relative_to(package).as_posix()
        if module.startswith("problems/shipped/"):  # an author's files, which know no layout
            continue
        allowed = {
            n
            for n, places in ELSEWHERE.items()
            if any(module == p or module.startswith(f"{p}/") for p in places)
        }
        if module not in LAYOUTS:
            found |= {(name, module) for name in known & {*paths_in(path.read_text())} - allowed}
    return found


def test_a_name_on_disk_stands_in_the_layout_alone():
    assert {
        "problem.json",
        "answers.json",
        "ledger.sqlite",
        "campaign.yaml",
        "favour.npy",
    } <= names()
    assert spelled(PACKAGE, names()) == set()


def test_a_second_spelling_is_found(tmp_path):
    (tmp_path / "fleet").mkdir()
    (tmp_path / "fleet" / "new.py").write_text(
        '"""About ledger.sqlite."""\npath = folder / "server/ledger.sqlite"\n'
    )
    (tmp_path / "fleet" / "said.py").write_text(
        '"""About ledger.sqlite."""\nwords = f"{folder} has no ledger.sqlite."\n'
    )
    assert spelled(tmp_path, names()) == {("ledger.sqlite", "fleet/new.py")}


def test_every_exception_is_needed():
    used = {(n, p) for n, places in ELSEWHERE.items() for p in places}
    for name, place in used:
        modules = [PACKAGE / place] if place.endswith(".py") else (PACKAGE / place).rglob("*.py")
        texts = (text for module in modules if name in (text := module.read_text()))
        assert any(name in paths_in(text) for text in texts), (name, place)


def test_names_on_disk_are_those_of_older_versions(tmp_path):
    campaign, bed = layout.CampaignFolder(tmp_path), layout.TestbedFolder(tmp_path)
    assert campaign.server.ledger == tmp_path / "server" / "ledger.sqlite"
    assert campaign.checkpoints.public_key == tmp_path / "checkpoints" / "key.pub"
    assert bed.answers == bed.private / "answers.json" == tmp_path / "private" / "answers.json"
    assert bed.meter == tmp_path / "private" / "meter" / "feedback.sqlite"
    assert bed.tries == tmp_path / "private" / "confirmations" / "final.sqlite"
    assert (
        layout.PublicFolder(tmp_path).layer("student", 12) == tmp_path / "student" / "layer_12.npy"
    )
