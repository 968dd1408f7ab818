"""README and docs name only what exists: links, commands, options, make targets, paths."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from aarlab.cli.main import app

ROOT = Path(__file__).parents[2]
AAR_COMMAND = typer.main.get_command(app)
WRITTEN = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "decisions").glob("*.md")),
]
PAGES = [*WRITTEN, *sorted((ROOT / "docs").glob("*/**/*.md"))]
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
CODE = re.compile(r"```.*?\n(.*?)```|`([^`\n]+)`", re.DOTALL)
AAR = re.compile(r"(?:^|[\s/])aar ([a-z][^\n#|]*)", re.MULTILINE)
PATHS = re.compile(r"(?<![\w/.<-])((?:src|tests|docs|experiments)/[\w/.-]*\w)")
MAKE = re.compile(r"(?:^|\s)make ([a-z][a-z-]*)")
MODULE = re.compile(r"python3? -m (experiments\.\w+|aarlab[\w.]+)")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def headings(text: str) -> set[str]:
    """The anchors that a page has on GitHub: lower case, no punctuation, hyphens for spaces."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken_links(page: Path) -> list[str]:
    """Relative links of `page` to files or headings that do not exist."""
    found = []
    for path, anchor in LINK.findall(re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in headings(target.read_text())):
            found.append(f"{path}#{anchor}" if anchor else path)
    return found


def code(text: str) -> list[str]:
    """The blocks and spans between backticks, without comments."""
    return [re.sub(r"(^|\s)#.*", "", block or span) for block, span in CODE.findall(text)]


def wrong_command(words: list[str]) -> str | None:
    """What is wrong with `aar WORDS`: no such command, or no such option of it. None: nothing."""
    command, named = AAR_COMMAND, ["aar"]
    for word in words:
        inside = getattr(command, "commands", None)
        if inside is not None and not word.startswith("-"):
            if word not in inside:
                return f"{' '.join(named)} has no command {word}"
            command = inside[word]
            named.append(word)
        elif word.startswith("-"):
            options = {
                "--help",
                *(name for p in command.params for name in (*p.opts, *p.secondary_opts)),
            }
            if re.split("[=,;)]", word)[0] not in options:
                return f"{' '.join(named)} has no option {word}"
    return None


def commands(text: str) -> Iterator[list[str]]:
    """The words of every `aar ...` in code, without placeholders' brackets and quoted arguments."""
    for piece in code(text):
        for line in AAR.findall(piece.replace("\\\n", " ")):
            plain = re.sub(r"'[^']*'|\"[^\"]*\"|[\[\]]", " ", re.split(r";|&&| > ", line)[0])
            yield [word for word in plain.split() if re.match(r"--?[a-z]|[a-z]", word)]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_exist(page):
    assert broken_links(page) == []


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_commands_exist_with_their_options(page):
    assert [wrong for words in commands(page.read_text()) if (wrong := wrong_command(words))] == []


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_paths_modules_and_make_targets_exist(page):
    text = page.read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    missing = [path for path in PATHS.findall(text) if not (ROOT / path).exists()]
    missing += [
        f"make {target}"
        for piece in code(text)
        for target in MAKE.findall(piece)
        if target not in targets
    ]
    for module in MODULE.findall(text):
        path = (ROOT if module.startswith("experiments") else ROOT / "src") / module.replace(
            ".", "/"
        )
        missing += (
            [] if path.with_suffix(".py").exists() or (path / "__main__.py").exists() else [module]
        )
    assert missing == []


def test_readme_tree_names_every_room():
    readme = (ROOT / "README.md").read_text()
    rooms = {p.name for p in (ROOT / "src" / "aarlab").iterdir() if (p / "__init__.py").exists()}
    assert set(re.findall(r"^  (\w+)/ ", readme, re.MULTILINE)) == rooms


def test_design_page_has_the_order_of_the_layers_contract():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    rooms = next(c["layers"] for c in contracts if c["name"] == "Layers")
    assert "\n".join(rooms) in (ROOT / "docs" / "design.md").read_text()


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["bench", "--data-seed", "1"], None),
        (["ledger", "verify", "NAME"], None),
        (["bnech"], "aar has no command bnech"),
        (["ledger", "undo"], "aar ledger has no command undo"),
        (["bench", "--speed", "9"], "aar bench has no option --speed"),
    ],
)
def test_wrong_command_is_found(words, wrong):
    assert wrong_command(words) == wrong


def test_broken_link_and_heading_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# One title\n[a](#one-title) [b](#no-title) [c](none.md) [d](page.md#one-title)\n"
    )
    assert broken_links(page) == ["#no-title", "none.md"]
