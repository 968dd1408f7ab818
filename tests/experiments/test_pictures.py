"""The README's pictures: dots are the report's figures, and texts stay in their boxes."""

import json
from collections import Counter
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox

from aarlab.core.errors import Misconfigured
from aarlab.report.report_record import Report
from experiments import pictures
from tests.golden.golden_archive import unpack

REPORT = "./campaigns/golden/report/report.json"


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """The report of a finished campaign: two claims confirmed, one not reproducible."""
    folder = tmp_path_factory.mktemp("golden")
    unpack(folder)
    return folder / REPORT


def test_dots_are_the_figures_of_the_report(written):
    axes = pictures.claimed_confirmed(Report.model_validate_json(written.read_text())).axes[0]
    dots = [
        (line.get_xdata()[0], line.get_color()) for line in axes.lines if line.get_marker() == "o"
    ]
    claims = json.loads(written.read_text())["claims"]
    figures = [c[side]["pgr"]["estimate"] for c in claims for side in ("claimed", "final")]
    assert [x for x, _ in dots] == figures
    confirmed = [c["verdict"] == "confirmed" for c in claims]
    assert [colour == pictures.CONFIRMED for _, colour in dots[1::2]] == confirmed


def test_report_without_a_confirmed_figure_is_refused(written):
    report = Report.model_validate_json(written.read_text()).model_copy(update={"claims": ()})
    with pytest.raises(Misconfigured, match="aar run --resume NAME"):
        pictures.claimed_confirmed(report)


def test_texts_of_the_loop_stay_in_their_boxes_and_apart():
    figure = pictures.loop()
    canvas = FigureCanvasAgg(figure)
    axes = figure.axes[0]
    drawn = [
        (t.get_text(), t.get_window_extent(canvas.get_renderer()))
        for t in axes.texts
        if t.get_text()
    ]
    inside = Counter()
    for box in pictures.BOXES:
        corners = axes.transData.transform(
            [(box.x, box.y), (box.x + box.width, box.y + box.height)]
        )
        for text, extent in drawn:
            if text in {box.title, *box.lines} - {""}:
                x, y = extent.x0 + extent.width / 2, extent.y0 + extent.height / 2
                if Bbox(corners).contains(x, y):
                    assert Bbox.union([Bbox(corners), extent]).bounds == pytest.approx(
                        Bbox(corners).bounds
                    ), text
                    inside[box.title] += 1
    assert inside.keys() == {box.title for box in pictures.BOXES} - {""}
    overlaps = [
        (a, b) for i, (a, p) in enumerate(drawn) for b, q in drawn[i + 1 :] if _area(p, q) > 0
    ]
    assert overlaps == []


def _area(one: Bbox, other: Bbox) -> float:
    shared = Bbox.intersection(one, other)
    return 0.0 if shared is None else shared.width * shared.height


@pytest.mark.slow
def test_pictures_are_written_the_same_twice(written, tmp_path):
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        pictures.main(written, out=tmp_path / name)
        made.append({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()})
    assert made[0] == made[1]
    assert set(made[0]) == {"loop.svg", "claimed_confirmed.svg"}
