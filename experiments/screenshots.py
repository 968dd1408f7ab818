"""Screenshots of the pages of a campaign, for docs/pages: light and dark, wide and on a phone; and
of the first screen of its report, beside that of version 0.1.0.

Run: `python -m experiments.screenshots NAME`. It needs what `experiments.browser` names. It fails
where the browser reports an error of a script or a violation of the content security policy.
"""

import argparse
import re
import tarfile
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from PIL import Image

from aarlab.core.layout import CampaignFolder, ReportFolder
from aarlab.core.settings import home
from experiments.browser import ARGUMENTS, NONE, Watched, chromium, served

COLOURS = 64  # of a picture: the pages have few
WIDE, TALL = {"width": 1120, "height": 760}, {"width": 1120, "height": 940}
PHONE = {"width": 390, "height": 1240}
OUT = Path(__file__).parents[1] / "docs" / "pages"
OLD = Path(__file__).parents[1] / "tests" / "golden" / "campaign-0.1.0.tar.xz"
SHOTS = (  # name, page, viewport, colour scheme
    ("live", "live", TALL, "light"),
    ("live-dark", "live", TALL, "dark"),
    ("live-phone", "live", PHONE, "light"),
    ("replay", "replay", TALL, "light"),
    ("hours", "hours", TALL, "light"),
    ("board", "board", WIDE, "light"),
    ("confirmations", "confirmations", WIDE, "light"),
    ("confirmations-dark", "confirmations", WIDE, "dark"),
    ("submission", "submission", WIDE, "light"),
    ("researcher", "researcher", WIDE, "light"),
    ("forum", "forum", WIDE, "light"),
    ("integrity", "integrity", WIDE, "light"),
    ("runs", "runs", WIDE, "light"),
    ("costs", "costs", WIDE, "light"),
    ("costs-phone", "costs", PHONE, "light"),
    ("problem", "problem", WIDE, "light"),
    ("compare", "compare", WIDE, "light"),
)
PLAIN = ("live", "board", "forum", "integrity", "confirmations", "runs", "costs", "problem")


def _beside(base: str, browse: object) -> str:
    """The page that compares with the first other campaign, where there is one."""
    browse.goto(f"{base}/compare")  # type: ignore[attr-defined]
    html = browse.content()  # type: ignore[attr-defined]
    other = re.search(r'<option value="([^"]+)"', html)
    return f"{base}/compare" + (f"?with={other[1]}" if other else "")


def addresses(live: str, browse: object, at: int) -> dict[str, str]:
    """Where each page is: of a submission and a researcher, the first that the board names; and the
    live page as it was after entry `at`."""
    base = live.rpartition("/")[0]
    browse.goto(f"{base}/board")  # type: ignore[attr-defined]
    html = browse.content()  # type: ignore[attr-defined]
    found = {page: f"{base}/{page}" for page in PLAIN}
    found |= {
        "replay": f"{base}/live?at={at}",
        "hours": f"{base}/live?axis=hours",
        "compare": _beside(base, browse),
    }
    for page in ("submission", "researcher"):
        link = re.search(rf'href="(/[^"]*/{page}/[^"]+)"', html)
        assert link, f"the board names no {page}"
        found[page] = re.sub(r"(http://[^/]+).*", r"\1", base) + link[1].replace("&amp;", "&")
    return found


def reports(name: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """The campaign's report, and that of a campaign of version 0.1.0, unpacked into a folder."""
    yield "report", ReportFolder(CampaignFolder(home().campaigns / name).report).html
    with tarfile.open(OLD) as archive:
        archive.extractall(folder, filter="data")
    yield "report-0.1.0", next(folder.rglob("report.html"))


def keep(page: object, path: Path) -> None:
    """What the browser shows, as a small picture."""
    taken = Image.open(BytesIO(page.screenshot()))  # type: ignore[attr-defined]
    taken.convert("RGB").quantize(COLOURS).save(path, optimize=True)
    print(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="a campaign")
    parser.add_argument("--at", type=int, default=120, help="entry of the page as it was")
    parser.add_argument("--out", type=Path, default=OUT)
    a = parser.parse_args()
    from playwright.sync_api import sync_playwright

    where_it_is = chromium()
    if where_it_is is None:
        raise SystemExit(NONE)
    a.out.mkdir(parents=True, exist_ok=True)
    with served(None, a.name) as link, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=where_it_is, args=ARGUMENTS)
        watched = Watched(browser)
        page = watched.context.new_page()
        page.goto(link)
        where = addresses(page.url, page, a.at)
        for name, at, viewport, scheme in SHOTS:
            page.set_viewport_size(viewport)
            page.emulate_media(color_scheme=scheme)
            page.goto(where[at])
            keep(page, a.out / f"{name}.png")
        page.set_viewport_size(WIDE)
        with tempfile.TemporaryDirectory() as folder:
            for name, path in reports(a.name, Path(folder)):
                page.goto(path.as_uri())
                keep(page, a.out / f"{name}.png")
        browser.close()
    if watched.wrong:
        raise SystemExit("\n".join(watched.wrong))


if __name__ == "__main__":
    main()
