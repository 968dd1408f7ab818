"""The page of `aar detectors`: docs/redteam/detectors.md."""

from collections.abc import Iterator, Mapping, Sequence

from aarlab.evaluation.detectors.contract import Kind
from aarlab.redteam.detection import LIMIT, Rates, Row

PREAMBLE = """# Detectors: what they catch and whom they accuse wrongly

Made by `{command}`. {n:,} items, five seeds a submission, {seeds} attackers a row; brackets are 95 % Clopper-Pearson intervals.
Two seeds of a simulated method disagree on 13.6 % of the items, two methods on 17 % (`redteam/crowd.py`). A flag never blocks.
All detectors together take {milliseconds} ms of processor time for a submission, reading its code included.

Detectors are the second line. **An attacker who hides each probe in a real run on fresh seeds is all but invisible to detectors
that use no label**; only one who draws the same pool again and again is seen then. What can be learned is bounded by the policy
([evaluator.md](../evaluator.md)), not by these.

| detector | looks for | who may know |
|---|---|---|
"""
PROBING = f"""The default policy answers. Seventy honest submissions of all habits come first, and one before each of the
attacker's. Its coin flips are the half of the items that are least sure for everybody: its best cover. At most {LIMIT}
submissions, decoys included; the column counts probes alone. A miss in the last disguise is the rule."""
HONEST = """One researcher of each habit a fleet. Who sweeps a constant that changes nothing re-rolls seeds, whatever it means
to do: from the record nobody can tell the two apart, and the flag says what the best of them is worth by luck."""
REAL = """generated-chat with the double as its student, {n} items: shipped methods, and recipes that change in layers, L2 or an
idea; each really run on five seeds of its own."""


def markdown(rates: Rates, command: str, detectors: Mapping[str, Kind]) -> str:
    """The page; `detectors`: the registry's."""
    lines = [PREAMBLE.format(command=command, **rates.model_dump(include={"n", "seeds", "milliseconds"})).rstrip()]
    lines += [
        f"| {k.name} | {k.about} | {'the operator alone (labels)' if k.uses_labels else 'anybody'} |"
        for k in detectors.values()
    ]
    lines += ["", "## Label probing", "", PROBING, "", *_table(rates.probes, "attack", "detected")]
    lines += ["", "## Other hacks, without labels", "", *_table(rates.hacks, "hack", "detected")]
    lines += ["", "## What a confirmation and set-up see", "", *_table(rates.judged, "case", "flagged")]
    lines += ["", "## False alarms: simulated honest researchers", "", HONEST, "", *_table(rates.honest, "habit", "accused")]
    lines += ["", "## False alarms: real methods", "", REAL.format(n=rates.real_n), "", *_table(rates.real, "fleet", "accused")]
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Row], what: str, flagged: str) -> Iterator[str]:
    yield f"| {what} | how | {flagged} | after submissions (median) | by |"
    yield "|---|---|---|---|---|"
    for r in rows:
        interval = f"{r.flagged} of {r.shown} [{r.share.lower:.0%}, {r.share.upper:.0%}]"
        yield f"| {r.what} | {r.how} | {interval} | {r.when} | {r.by} |"
