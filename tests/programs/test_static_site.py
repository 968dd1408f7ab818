"""A campaign as files: every link leads to a file, nothing runs, nothing is asked for elsewhere,
and what researchers wrote is text."""

import json
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import pytest

import aarlab
from aarlab.core.errors import Misconfigured
from aarlab.core.hold import Hold
from aarlab.core.layout import CampaignFolder
from aarlab.programs.static_site import file_of, write_site
from aarlab.report.report_record import Report
from tests.report.test_hostile_text import PROBLEM, changed
from tests.report.test_hostile_text import made as filled
from tests.web.hostile_texts import FIVES, no_surrogate, written
from tests.web.scenes import golden, ledger_of, small, with_code
from tests.web.test_web_hostile import DECEIVING

RUNS = {"script", "form", "iframe", "object", "embed", "img", "base", "button", "select", "input"}


class Elements(HTMLParser):
    """Elements, attributes, links and marks of a page, and its policy."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.names: set[str] = set()
        self.links: set[str] = set()
        self.marks: set[str] = set()
        self.policy = ""
        self.style = ""
        self._in_style = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.add(tag)
        self.names |= given.keys()
        self.links |= {given[name] for name in ("href", "src", "action") if name in given}
        self.marks |= {given["id"]} if "id" in given else set()
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"]
        self._in_style = tag == "style"

    def handle_data(self, data):
        self.style += data if self._in_style else ""
        self._in_style = False


def report(name: str = "small") -> Report:
    return changed(filled(Report), problem=PROBLEM, campaign={"name": name})


@pytest.fixture
def golden_site(tmp_path):
    golden(tmp_path).pages.close()
    reader = aarlab.open(tmp_path / "campaigns" / "golden")
    count = write_site(reader, tmp_path / "site", report())
    return tmp_path / "site", count


def pages(folder):
    found = {path: Elements(path.read_text()) for path in folder.rglob("*.html")}
    assert len(found) > 5
    return found


@pytest.mark.slow
def test_every_link_leads_to_a_file_of_the_site(golden_site):
    folder, count = golden_site
    found = pages(folder)
    assert len(found) == count
    assert {p.name for p in folder.iterdir() if p.is_file()} >= {
        *("index.html", "live.html", "board.html", "forum.html", "integrity.html")
    }
    linked = set()
    for path, page in found.items():
        for link in page.links:
            where, _, mark = link.partition("#")
            if link.startswith("data:image/svg+xml;base64,"):
                continue
            target = (path.parent / where).resolve() if where else path
            assert not re.match("[a-z]+:|/", link), link
            assert target in found, (path, link)
            assert not mark or mark in found[target].marks, (path, link)
            linked.add(target)
    assert linked == set(found), "every page can be reached"
    reader = aarlab.open(folder.parent / "campaigns" / "golden")
    receipts = {row["receipt"] for row in reader.rows("submissions")}
    assert {p.stem for p in (folder / "submission").iterdir()} == receipts


@pytest.mark.slow
def test_a_page_runs_nothing_and_asks_for_nothing(golden_site):
    folder, _ = golden_site
    for path, page in pages(folder).items():
        assert not page.tags & RUNS, path
        assert not {name for name in page.names if name.startswith("on")}, path
        assert "default-src 'none'" in page.policy
        assert "base-uri 'none'; form-action 'none'" in page.policy
        assert "http" not in page.policy
        assert "noscript" not in page.tags
        if path.name != "index.html":
            digest = b64encode(sha256(page.style.encode()).digest()).decode()
            assert f"style-src 'sha256-{digest}'" in page.policy
            assert "style" not in page.names
        assert path.read_text().index("Content-Security-Policy") < 200 or path.name == "index.html"


@pytest.mark.slow
def test_pages_lead_to_the_report_and_the_report_to_the_pages(golden_site):
    folder, _ = golden_site
    submission = (folder / "submission" / "r-000001.html").read_text()
    assert '<a class="brand" href="../index.html">Report</a>' in submission
    assert re.search(r"<p>A copy, made on 20\d\d-[\d: -]+ UTC: it does not change", submission)
    assert 'href="../researcher/' in submission
    assert '<a href="live.html">Level over time</a>' in (folder / "index.html").read_text()


@pytest.mark.slow
def test_long_tables_are_several_files(tmp_path):
    browser = small(tmp_path)
    with_code(tmp_path, "researcher-1", *(f"a = {n}\n" for n in range(60)))
    browser.pages.close()
    write_site(aarlab.open(tmp_path / "campaigns" / "small"), tmp_path / "site", report())
    first, second = (tmp_path / "site" / f"board{n}.html" for n in ("", "-page-2"))
    assert "Page 1 of 2 (63 submissions)" in first.read_text()
    assert 'rel="next" href="board-page-2.html"' in first.read_text()
    assert 'rel="prev" href="board.html"' in second.read_text()
    assert not list((tmp_path / "site").glob("board-page-3.html"))
    shown = re.findall(
        r'<th scope="row"><a class="id" href="submission/(r-\d+).html"',
        first.read_text() + second.read_text(),
    )
    assert len(set(shown)) == 63


@pytest.mark.slow
@pytest.mark.parametrize("texts", FIVES, ids=range(len(FIVES)))
def test_hostile_text_is_text_on_every_page(tmp_path, texts):
    small(tmp_path).pages.close()
    written(tmp_path, *texts)
    plain = report(no_surrogate(" ".join(texts)))
    write_site(aarlab.open(tmp_path / "campaigns" / "small"), tmp_path / "site", plain)
    for path, page in pages(tmp_path / "site").items():
        assert not page.tags & RUNS, path
        assert not {name for name in page.names if name.startswith(("on", "hx-"))}, path
        assert not DECEIVING.search(path.read_text()), path
        outside = {x for x in page.links if re.match("[a-zA-Z]+:|//", x)}
        assert {x[:26] for x in outside} <= {"data:image/svg+xml;base64,"}
        assert all((path.parent / x.partition("#")[0]).exists() for x in page.links - outside)


def test_a_name_makes_a_plain_file_name(tmp_path):
    names = ["researcher-1", "..", "../x", "A", "a", "", "x/y", "\ud83d", "x" * 300, "x" * 301]
    made = [file_of(("researcher", name, ())) for name in names]
    assert made[0] == "researcher/researcher-1.html"
    assert len({name.lower() for name in made}) == len(names)
    assert all(re.fullmatch(r"researcher(/[a-z0-9_-][a-z0-9._-]{0,99})?\.html", m) for m in made)


def test_a_running_campaign_and_a_folder_that_is_there_are_refused(tmp_path):
    small(tmp_path).pages.close()
    reader = aarlab.open(tmp_path / "campaigns" / "small")
    with (
        Hold(CampaignFolder(reader.folder).lock, str),
        pytest.raises(Misconfigured, match="when the campaign has ended; `aar web`"),
    ):
        write_site(reader, tmp_path / "site", report())
    (tmp_path / "site").mkdir()
    with pytest.raises(Misconfigured, match="is there already"):
        write_site(reader, tmp_path / "site", report())
    assert not list((tmp_path / "site").iterdir())


@pytest.mark.slow
def test_no_exact_score_is_on_any_page_but_the_report(tmp_path):
    small(tmp_path).pages.close()
    ledger = ledger_of(tmp_path, read_only=True)
    exact = {
        str(e.body[name]) for e in ledger.each("submission") for name in e.body if "exact" in name
    }
    ledger.close()
    assert exact == {"0.87654", "0.76543"}
    write_site(aarlab.open(tmp_path / "campaigns" / "small"), tmp_path / "site", report())
    for path in pages(tmp_path / "site"):
        assert not [value for value in exact if value[:5] in path.read_text()], path


@pytest.mark.slow
def test_a_long_transcript_begins_with_its_end_and_has_all_steps(tmp_path):
    small(tmp_path).pages.close()
    place = CampaignFolder(tmp_path / "campaigns" / "small").transcripts / "researcher-1"
    place.mkdir(parents=True)
    rows = [
        {"type": "assistant", "message": {"content": [{"type": "text", "text": f"step {n}."}]}}
        for n in range(450)
    ]
    (place / "1.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    write_site(aarlab.open(tmp_path / "campaigns" / "small"), tmp_path / "site", report())
    files = sorted((tmp_path / "site" / "researcher").glob("researcher-1*.html"))
    assert len(files) > 2
    newest = (tmp_path / "site" / "researcher" / "researcher-1.html").read_text()
    assert "step 449." in newest
    assert "step 0." not in newest
    shown = {int(n) for path in files for n in re.findall(r">step (\d+)\.<", path.read_text())}
    assert shown == set(range(450))
