"""A campaign as points over time, for trackers of experiments: what was reported, certified and
released, and what was spent. No exact score is among them."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from aarlab.core.errors import Misconfigured
from aarlab.programs.campaign_reader import CampaignReader

# fields of a campaign that are paths or words of the operator's own: not for a tracker
OWN = frozenset({"command", "script", "directions", "detectors", "providers", "devices"})


class SeriesPoint(NamedTuple):
    """What is known after one entry of the ledger."""

    entry: int
    values: dict[str, float]


def points(reader: CampaignReader) -> Iterator[SeriesPoint]:
    """In order. `hours`: since the first of these entries; amounts are sums so far, dollars those
    that are known; a verdict's score is as it was released."""
    rows = [
        *((row, _submitted) for row in reader.rows("submissions")),
        *((row, _spent) for row in reader.rows("spends")),
        *((row, _settled) for row in reader.rows("confirmations")),
    ]
    rows.sort(key=lambda pair: pair[0]["entry"])
    sums: dict[str, float] = {}
    began = None
    for row, read in rows:
        at = datetime.fromisoformat(row["at"]).timestamp()
        began = at if began is None else began
        values = {"hours": round((at - began) / 3600, 6)} | read(row, sums)
        yield SeriesPoint(
            row["entry"], {name: float(v) for name, v in values.items() if v is not None}
        )


def _submitted(row: dict[str, Any], sums: dict[str, float]) -> dict[str, Any]:
    sums["submissions"] = sums.get("submissions", 0) + 1
    sums["improvements"] = sums.get("improvements", 0) + row["improved"]
    found = {name: row[name] for name in ("reported_level_pgr", "certified_pgr", "released_bits")}
    found |= {name: sums[name] for name in ("submissions", "improvements")}
    if row["improved"]:
        found[f"{row['researcher']}/reported_level_pgr"] = row["reported_level_pgr"]
    return found


def _spent(row: dict[str, Any], sums: dict[str, float]) -> dict[str, Any]:
    sums["known_usd"] = sums.get("known_usd", 0.0) + (row["usd"] or 0.0)
    sums["researcher_hours"] = sums.get("researcher_hours", 0.0) + row["wall_s"] / 3600
    return {name: round(sums[name], 6) for name in ("known_usd", "researcher_hours")}


def _settled(row: dict[str, Any], sums: dict[str, float]) -> dict[str, Any]:
    sums["verdicts"] = sums.get("verdicts", 0) + 1
    sums["confirmed"] = sums.get("confirmed", 0) + (row["verdict"] == "confirmed")
    found = {name: sums[name] for name in ("verdicts", "confirmed")}
    return found | {"confirmed_accuracy": row["confirmed_accuracy"]}


def settings_of(reader: CampaignReader) -> dict[str, Any]:
    """The campaign's fields, as plain JSON, without paths of the operator's machine."""
    found = reader.settings.model_dump(mode="json", exclude=set(OWN))
    return {name: "a file" if _is_path(value) else value for name, value in found.items()}


def _is_path(value: object) -> bool:
    return isinstance(value, str) and "/" in value


def missing(library: str, extra: str) -> Misconfigured:
    """What to say where a library is not there."""
    return Misconfigured(f"{library} is not installed. Run `pip install 'aarlab[{extra}]'`.")
