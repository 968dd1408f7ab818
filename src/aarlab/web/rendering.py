"""From a page's numbers to HTML: templates that escape whatever they are given."""

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from aarlab.core.amounts import duration
from aarlab.core.printable import printable
from aarlab.web.chart_shapes import NARROW, WIDE, shapes
from aarlab.web.gantt_shapes import gantt_shapes
from aarlab.web.scatter_shapes import scatter_shapes
from aarlab.web.shown_score import MEANING


def environment() -> Environment:
    """The templates of all pages, with their filters."""
    made = Environment(
        loader=PackageLoader("aarlab.web"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=_harmless,
    )
    made.filters |= {"when": when, "part": part, "percent": percent, "duration": duration}
    made.globals |= {"shapes": shapes, "gantt_shapes": gantt_shapes}
    made.globals |= {"scatter_shapes": scatter_shapes}
    made.globals |= {"WIDE": WIDE, "NARROW": NARROW, "MEANING": MEANING}
    return made


def _harmless(value: object) -> object:
    """A value without half characters, which no encoding can write. What else deceives was taken
    out when the page was made."""
    if value is None:
        return ""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return value if value.isascii() else value.encode(errors="replace").decode()


def part(text: object) -> str:
    """A text as one part of an address's path."""
    return quote(str(text).encode(errors="replace"), safe="")


def when(at: str | float) -> str:
    """`2026-11-28 13:24:17`, in UTC, from ISO 8601 or seconds since 1970."""
    try:
        made = datetime.fromtimestamp(at, UTC) if isinstance(at, float) else _parsed(at)
    except (ValueError, OverflowError, OSError):
        return printable(str(at))[:32]
    return made.strftime("%Y-%m-%d %H:%M:%S")


def _parsed(at: object) -> datetime:
    return datetime.fromisoformat(str(at)).astimezone(UTC)


def percent(share: float) -> str:
    """`3.3 %`."""
    return f"{100 * share:.1f} %"


def as_json(page: dict[str, Any]) -> bytes:
    """A page's numbers as JSON, in ASCII."""
    return json.dumps(page, indent=1, allow_nan=False, default=str).encode()
