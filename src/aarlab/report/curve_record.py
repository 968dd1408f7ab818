"""The part of report.json that says how the reported level rose."""

from aarlab.core.records import Measure, Record


class CurvePoint(Record):
    """What was reported and certified of the label set, from a submission on."""

    receipt: str
    hours: Measure  # since the campaign's first entry
    level_pgr: Measure
    certified_pgr: Measure | None  # None: nothing was certified yet


class Curve(Record):
    """The reported level over the hours in which the fleet worked."""

    hours: Measure
    points: tuple[CurvePoint, ...]
