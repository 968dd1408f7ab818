"""What stands behind the question mark of a page's address: sorting, filters, and which page."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

from aarlab.core.errors import InvalidSubmission
from aarlab.web.shown_text import line

T = TypeVar("T")
MOST_PAGES = 1_000_000
DIGITS = 16


class PageQuery:
    """The fields of one request; each is checked when it is read."""

    def __init__(self, given: Mapping[str, str], *, whole: bool = False) -> None:
        """`whole`: all rows are on one page, as in a table to keep."""
        self._given, self.whole = dict(given), whole

    def choice(self, name: str, allowed: Sequence[str], default: str = "") -> str:
        """One of the values that a field may have.

        Raises:
            InvalidSubmission: it is another.
        """
        value = self._given.get(name, "") or default
        if value != default and value not in allowed:
            some = ", ".join(line(a, 40) for a in allowed[:20] if a) or "empty"
            raise InvalidSubmission(f"{name} cannot be '{line(value, 40)}'. It may be: {some}.")
        return value

    def number(self, name: str, default: int, most: int | None = None) -> int:
        """A whole number from 1, to `most` if that is given.

        Raises:
            InvalidSubmission: it is none.
        """
        value = self._given.get(name, "")
        if not value:
            return default
        plain = value.isascii() and value.isdigit() and len(value) < DIGITS
        if not plain or not 1 <= int(value) <= (most or MOST_PAGES):
            upto = "" if most is None else f" to {most}"
            raise InvalidSubmission(
                f"{name} cannot be '{line(value, 40)}'. Give a whole number from 1{upto}."
            )
        return int(value)

    def link(self, **changes: object) -> str:
        """The same address with some fields changed; a field that is changed to None is left
        out."""
        fields = self._given | {name: str(v) for name, v in changes.items() if v is not None}
        kept = {n: v for n, v in fields.items() if v and not (n in changes and changes[n] is None)}
        return f"?{urlencode(kept, errors='replace')}"

    def paged(self, rows: Sequence[T], size: int) -> tuple[Sequence[T], dict[str, Any]]:
        """The rows of the page that is asked for, and where one goes from it."""
        size = max(1, len(rows)) if self.whole else size
        pages = max(1, -(-len(rows) // size))
        at = min(self.number("page", 1), pages)
        return rows[(at - 1) * size : at * size], self.pager(at, pages, len(rows))

    def pager(self, at: int, pages: int, rows: int) -> dict[str, Any]:
        """Which page it is, and the addresses of those beside it."""
        return {
            "page": at,
            "pages": pages,
            "rows": rows,
            "first": self.link(page=1) if at > 1 else None,
            "previous": self.link(page=at - 1) if at > 1 else None,
            "next": self.link(page=at + 1) if at < pages else None,
            "last": self.link(page=pages) if at < pages else None,
        }
