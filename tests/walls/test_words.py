"""Docstrings, messages, help texts and prompts use the field's terms: no metaphors, no archaic
turns."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "aarlab"
CHECKED = (  # add a room once it is plain
    *("models", "methods", "problems", "testbeds", "runs", "bench", "sandbox", "researchers"),
    *("redteam", "diversity", "report", "cli", "fleet", "core", "gateway"),
    *("lab", "evaluation", "web", "programs", "nodes"),
)
BANNED = {  # pattern -> what to write
    r"favour(?!ab)\w*": "zero-shot logit",
    r"rulers?(?!\.json)": "anchors",
    r"doors?|desks?": "socket, operation",
    r"decks?": "item batch",
    r"tills?|shel(f|ves)|trunks?": "spend journal, cache, base model",
    r"told|tells?(?! apart)": "reported, says, gives",
    r"(?<!half-)li(fe|ves)(?! cycle)": "incarnation",
    r"anew|hitherto|thereby|thereof|lest|whence": "again; or leave it out",
    r"ours": "aarlab's, internal",
    r"tak(es?|en|ing) up|took up": "read, resume",
    r"last words|in words": "last output, as text",
    r"mend(s|ed|ing)?": "fix",
    r"(next|another) yes|a yes": "improvement",
    r"hangs? together": "are dependent",
    r"in earnest|of late|for good": "real, recently, permanently",
    r"com(es?|ing) about|came about": "happens",
    r"go(es)? on from": "resumes",
}
PENDING = {
    "refusals.py",  # "a bug of ours" is the value of a field
}
BANNED_NAMES = {
    "told",
    "untold",
    "tell",
    "deck",
    "decks",
    "door",
    "doors",
    "favour",
    "life",
    "lives",
}
LEFT_NAMES = {  # name -> the modules that may have it: keys of old state, names in old code
    "told": {"report_record.py", "folder_report.py", "build.py"},  # of report.json
    "told_improvements": {"report_record.py", "folder_report.py", "build.py"},
    "tell": {"checkpoints.py", "process.py"},  # of Python's files
}
OLD_NAMES = {  # that any module may have
    *("told_accuracy", "told_flags", "untold"),  # the ledger's
    *("favour_N", "favour_N2", "favour_T"),  # of submitted code; of feature banks
}
PARTS_OF_NAMES = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
SQL = re.compile(r"\s*(CREATE|SELECT|INSERT|DELETE|UPDATE|FROM)\b")  # names on disk stay
WORDS = re.compile(rf"(?<![\w./`-])({'|'.join(BANNED)})(?![\w-])(?!\.\w)", re.IGNORECASE)


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of all that a reader sees: whole files, or a module's docstrings and
    sentences."""
    if path.suffix != ".py":
        yield 1, path.read_text()
        return
    for node in ast.walk(ast.parse(path.read_text())):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and " " in text and not SQL.match(text):
            yield node.lineno, text


def banned(path: Path) -> list[str]:
    return [
        f"{path.name}:{line}: {found[0]}"
        for line, text in texts(path)
        for found in WORDS.finditer(text)
    ]


def names_in(path: Path) -> Iterator[tuple[int, str]]:
    """(line, name) of all that a module names or defines."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield node.lineno, name
            case ast.ClassDef(name=name) | ast.Name(id=name) | ast.Attribute(attr=name):
                yield node.lineno, name
            case ast.arg(arg=name) | ast.keyword(arg=str(name)):
                yield node.lineno, name


def banned_names(path: Path) -> list[str]:
    return [
        f"{path.name}:{line}: {name}"
        for line, name in names_in(path)
        if name not in OLD_NAMES
        and any(part.lower() in BANNED_NAMES for part in PARTS_OF_NAMES.findall(name))
        and path.name not in LEFT_NAMES.get(name, ())
    ]


def test_names_in_code_are_plain_words():
    files = [p for p in sorted(PACKAGE.rglob("*.py")) if "shipped" not in p.parts]
    assert len(files) > 300
    assert [hit for path in files for hit in banned_names(path)] == []


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        ("def told(deck, *, in_door): return Life(old_lives=favour_T)", 5),
        ("record.told_flags, task.student.favour_N, alive, lifespan, doorway", 0),
        ("class Told: pass\nself._told.untold = self.tell", 3),
    ],
)
def test_the_test_of_names_can_fail(tmp_path, text, hits):
    (tmp_path / "a.py").write_text(text)
    assert len(banned_names(tmp_path / "a.py")) == hits


@pytest.mark.parametrize("room", CHECKED)
def test_a_room_is_written_in_plain_words(room):
    files = [p for p in sorted((PACKAGE / room).rglob("*")) if p.suffix in {".py", ".md", ".jinja"}]
    assert files
    assert [hit for path in files if path.name not in PENDING for hit in banned(path)] == []


@pytest.mark.parametrize(
    ("name", "text", "hits"),
    [
        ("a.py", '"""A deck is told anew."""', 3),
        ("a.py", "raise ValueError(f'{path} is damaged: mend it')", 1),
        ("a.py", "deck = told(favour)  # the door", 0),
        ("a.py", "'deck'", 0),
        ("a.py", "'SELECT life FROM files'", 0),
        ("a.md", "The next yes to you costs 2 bits.", 1),
        ("a.md", "private/ruler.json, favourable, --door", 0),
    ],
)
def test_the_word_test_can_fail(tmp_path, name, text, hits):
    (tmp_path / name).write_text(text)
    assert len(banned(tmp_path / name)) == hits
