"""Findings as text for a language model: a line each in a list, one in full. They are others'
text, framed as data (`untrusted.framed`)."""

from collections.abc import Mapping, Sequence
from typing import Any

from aarlab.core.untrusted import clean_line, framed


def listed(found: Sequence[Mapping[str, Any]], limit: int | None = None) -> str:
    """A line for each finding. With the limit by which they were listed: how to go on."""
    if not found:
        return "No findings."
    columns = f"{len(found)} findings: id, author, kind, family, cites, title"
    lines = framed(columns, "\n".join(map(_line, found)))
    if limit is None:
        return lines
    more = f"For more, use after={int(found[-1]['id'][2:])}."
    return f"{lines} {more if len(found) == limit else 'There are no more.'}"


def whole(finding: Mapping[str, Any]) -> str:
    """A finding with its full text and citations, framed as untrusted data."""
    cites = [
        *finding["receipts"],
        *([f"snapshot {finding['snapshot']}"] if finding["snapshot"] else []),
    ]
    cites += [f"answers {finding['parent']}"] if finding["parent"] else []
    head = f"{finding['kind']}, {finding['family']}; {', '.join(cites) or 'cites nothing'}"
    what = f"finding {finding['id']} by {clean_line(finding['author'], 80)}"
    return framed(what, f"{clean_line(finding['title'], 200)}\n[{head}]\n\n{finding['text']}")


def _line(finding: Mapping[str, Any]) -> str:
    cites = [*finding["receipts"][:3], *(["code"] if finding["snapshot"] else [])]
    named = [finding[name] for name in ("id", "author", "kind", "family")]
    return clean_line(" | ".join([*named, "+".join(cites) or "-", finding["title"]]), 240)


def similar_work(found: Any) -> list[str]:
    """Findings like the committed code, framed as untrusted data because titles are others'
    text."""
    if not found:
        return []
    rows = [
        ", ".join(f"{k} {v}" for k, v in r.items() if v is not None)
        if isinstance(r, dict)
        else str(r)
        for r in found
    ]
    lines = "\n".join(clean_line(row, 300) for row in rows)
    note = "Similar work exists. Read it before you spend budget on this idea."
    return [note, framed("similar work", lines)]
