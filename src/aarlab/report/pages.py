"""Write a report as Markdown and HTML. Every number comes from its record."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from aarlab.core.layout import ReportFolder
from aarlab.core.markdown import code, escaped
from aarlab.core.pgr import pgr_words
from aarlab.core.printable import printable
from aarlab.core.records import Measure
from aarlab.report.curve_picture import NARROW, WIDE, picture_of, shapes
from aarlab.report.figure_words import (
    accuracy,
    e_value,
    elsewhere,
    hours,
    interval,
    left,
    limits,
    p_value,
    percent,
    rate,
    score,
    usd,
    whole,
)
from aarlab.report.folder_pages import folder_words
from aarlab.report.folder_report import FolderReport
from aarlab.report.headline import headline
from aarlab.report.report_record import Report

# the address of a site's page by kind and name ("submission", "r-000001"); None: no such page
Linked = Callable[[str, str], str | None]


def environment(kind: str) -> Environment:
    """Templates of Markdown ("md") or HTML ("html"), in which nothing that a researcher wrote is
    more than text."""
    made = Environment(
        loader=PackageLoader("aarlab.report"),
        autoescape=kind == "html",
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        finalize=_harmless if kind == "html" else _in_markdown,
    )
    made.globals |= {"shapes": shapes, "WIDE": WIDE, "NARROW": NARROW}
    made.filters |= {"interval": interval, "accuracy": accuracy, "code": code}
    made.filters |= {
        "score": score,
        "elsewhere": elsewhere,
        "e_value": e_value,
        "p_value": p_value,
        "left": left,
        "percent": percent,
    }
    made.filters |= {
        "usd": usd,
        "hours": hours,
        "limits": limits,
        "whole": whole,
        "rate": rate,
    }
    return made


def _harmless(value: object) -> object:
    """A template value without control and direction characters, because researchers wrote many
    of the values."""
    if isinstance(value, Markup):
        return Markup(printable(value))  # it is escaped already, and characters are only removed
    return printable(value) if isinstance(value, str) else value


def _in_markdown(value: object) -> object:
    """A template value as words of Markdown, whoever wrote it."""
    return escaped(value) if isinstance(value, str) else value


def write(report: Report | FolderReport, folder: Path) -> Path:
    """Write report.json, its JSON Schema, report.md and report.html; returns the path of the
    HTML."""
    markdown, page = _rendered("md", report), _rendered("html", report)
    folder.mkdir(parents=True, exist_ok=True)
    made = ReportFolder(folder)
    made.record.write_text(report.model_dump_json(indent=1))
    made.schema.write_text(json.dumps(type(report).model_json_schema(), indent=1))
    made.markdown.write_text(markdown)
    made.html.write_text(page)
    return made.html


def html(report: Report | FolderReport, linked: Linked | None = None) -> str:
    """The report as one page. `linked`: where it stands among the pages of a site."""
    return _rendered("html", report, linked)


def _rendered(kind: str, report: Report | FolderReport, linked: Linked | None = None) -> str:
    if isinstance(report, FolderReport):
        name, words = "folder", folder_words(report)
    else:
        name = "report"
        words = {"top": headline(report), "bars": bars(report), "ends": ends(report)}
    template = environment(kind).get_template(f"{name}.{kind}.jinja")
    return template.render(r=report, linked=linked, picture=picture_of(report), **words)


def write_refusal(campaign: str, faults: Sequence[str], folder: Path) -> None:
    """Write the ledger's faults instead of a report that cannot be made. An earlier report is
    overwritten."""
    folder.mkdir(parents=True, exist_ok=True)
    made = ReportFolder(folder)
    made.record.unlink(missing_ok=True)
    lines = [
        printable(line) for line in ("The record does not verify, and there is no report.", *faults)
    ]
    made.markdown.write_text(
        "\n\n".join([f"# Campaign {escaped(campaign)}", *map(escaped, lines)]) + "\n"
    )
    body = "".join(f"<p>{escape(line)}</p>" for line in lines)
    made.html.write_text(
        f'<!doctype html>\n<meta charset="utf-8">\n<h1>Campaign {escape(campaign)}</h1>\n{body}\n'
    )


Bar = tuple[str, Measure, str, str]  # name, PGR, the PGR in words, kind


def bars(report: Report) -> list[dict[str, object]]:
    """Rows of the forest plot: PGR on `final` of baselines, and of each claim what was claimed on
    feedback beside what was measured on `final`; on a scale of 0..100."""
    at = _scale(report)
    return [
        {
            "name": name,
            "kind": kind,
            "left": at(pgr.lower),
            "width": round(at(pgr.upper) - at(pgr.lower), 2),
            "dot": at(pgr.estimate),
            "measure": words,
        }
        for name, pgr, words, kind in forest_rows(report)
    ]


def ends(report: Report) -> tuple[float, float]:
    """Where PGR 0 and PGR 1 are on that scale."""
    at = _scale(report)
    return at(0.0), at(1.0)


def forest_rows(report: Report) -> list[Bar]:
    """PGR of baselines on final, and of each claim what was claimed and what was measured."""
    found = [(b.name, b.final, "baseline") for b in report.baselines]
    for c in report.claims:
        if c.final:
            name = f"#{c.rank} {c.family}"
            kind = "confirmed" if c.verdict == "confirmed" else "claim"
            found += [(f"{name}: claimed on feedback", c.claimed, "claimed")]
            found += [(f"{name}: {c.standing}", c.final, kind)]
    return [
        (name, score.pgr, pgr_words(score.pgr, score.gap), kind)
        for name, score, kind in found
        if score.pgr
    ]


def _scale(report: Report) -> Callable[[float], float]:
    """A PGR as a place between 0 and 100, where all intervals, 0 and 1 have room."""
    rows = forest_rows(report)
    low = min([0.0, *(pgr.lower for _, pgr, _, _ in rows)])
    high = max([1.0, *(pgr.upper for _, pgr, _, _ in rows)])
    return lambda value: round(100 * (value - low) / (high - low), 2)
