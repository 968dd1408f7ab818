"""Tables in Markdown and a JSON file of what was found.

Legend: S steps; tok/s are useful tokens a second, padding not counted.
"""

import json
import platform
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from experiments.train.agree import Difference
from experiments.train.clock import spread
from experiments.train.published import (
    COMPUTED,
    FASTER_RUN_S,
    RUN_S,
    RUN_TOKENS,
    TEACHER_RUN_S,
    TEST_TOKENS,
)


@dataclass
class Row:
    """One rung's repetitions, or why it has none."""

    rung: str
    what: str
    tok_s: list[float] = field(default_factory=list)
    losses_S: list[float] = field(default_factory=list)
    predict_tok_s: list[float] = field(default_factory=list)
    peak_gib: float | None = None
    warm_up_s: float | None = None
    note: str = ""

    @property
    def speed(self) -> float:
        """Median of the repetitions, in tokens a second; NaN where there are none."""
        return statistics.median(self.tok_s) if self.tok_s else float("nan")


@dataclass(frozen=True)
class Work:
    """What the timed items need at least, and what this device could do."""

    flop_a_token: float
    study_flop_a_token: float
    padding: float
    mean_tokens: float
    product_flops: float

    @property
    def study_share(self) -> float:
        """Operations of the study's way over those needed: the gain that counting alone
        predicts."""
        return self.study_flop_a_token / self.flop_a_token

    @property
    def floor_tok_s(self) -> float:
        """Tokens a second if every needed operation ran at the rate of large matrix products."""
        return self.product_flops / self.flop_a_token


def table(rows: list[Row], work: Work, *, full_run: bool) -> str:
    """The rungs: speed with its range over repetitions, ratio to arm a, share of the floor's speed,
    drift of the losses."""
    first = next((row for row in rows if row.rung == "a"), Row("a", ""))
    heads = [
        "rung",
        "",
        "tok/s (least to most)",
        "x of a",
        "x of floor",
        "prediction tok/s",
        "loss drift from a",
        "peak GiB",
    ]
    heads += (
        [
            "s a full run",
            f"x of {RUN_S:,} s",
            f"x of {FASTER_RUN_S:,} s",
            "computed s",
            "prediction s",
        ]
        if full_run
        else []
    )
    body = []
    for row in rows:
        if not row.tok_s:
            body.append([row.rung, row.what, row.note, *[""] * (len(heads) - 3)])
            continue
        middle, least, most = spread(row.tok_s)
        cells = [
            row.rung,
            f"{row.what}{'; ' + row.note if row.note else ''}",
            f"{middle:,.0f} ({least:,.0f} to {most:,.0f})",
        ]
        cells += [ratio(row, first), f"{middle / work.floor_tok_s:.2f}", _median(row.predict_tok_s)]
        cells += [drift(row, first), _number(row.peak_gib, 1)]
        if full_run:
            seconds = RUN_TOKENS / middle
            computed = f"{COMPUTED[row.rung].run_s:,.0f}" if row.rung in COMPUTED else ""
            cells += [
                f"{seconds:,.0f}",
                f"{RUN_S / seconds:.1f}",
                f"{FASTER_RUN_S / seconds:.1f}",
                computed,
            ]
            cells += [
                f"{TEST_TOKENS / statistics.median(row.predict_tok_s):,.0f}"
                if row.predict_tok_s
                else ""
            ]
        body.append(cells)
    return markdown(heads, body)


def ratio(row: Row, first: Row) -> str:
    """Of the speeds: repetition by repetition, since both had the same minute of the machine;
    median, least and most."""
    if len(row.tok_s) != len(first.tok_s) or len(row.tok_s) == 1:
        return _number(row.speed / first.speed, 2)
    middle, least, most = spread(
        [ours / theirs for ours, theirs in zip(row.tok_s, first.tok_s, strict=True)]
    )
    return "1" if row is first else f"{middle:.2f} ({least:.2f} to {most:.2f})"


def drift(row: Row, first: Row) -> str:
    """Largest relative difference of the losses of consecutive steps."""
    if row.rung == "a" or not first.losses_S or len(first.losses_S) != len(row.losses_S):
        return ""
    return (
        f"{max(abs(x - y) / abs(y) for x, y in zip(row.losses_S, first.losses_S, strict=True)):.1e}"
    )


def agreement(found: list[Difference]) -> str:
    body = [
        [d.arm, d.what, f"{d.found:.1e}", f"{d.limit:.0e}" if d.limit else "exactly 0", _verdict(d)]
        for d in found
    ]
    return markdown(["arm", "compared with arm a", "difference", "limit", ""], body)


def _verdict(found: Difference) -> str:
    return "agrees" if found.agrees else "DISAGREES"


def markdown(heads: list[str], body: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine(device: str) -> str:
    """Processor or GPU, threads and versions: figures mean nothing without them."""
    import peft
    import transformers

    name = (
        torch.cuda.get_device_name()
        if device.startswith("cuda")
        else f"{_processor()}, {torch.get_num_threads()} thread(s)"
    )
    return (
        f"{name}; torch {torch.__version__}, transformers {transformers.__version__}, peft "
        f"{peft.__version__}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:  # not Linux
        return platform.processor() or platform.machine()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )


def write(path: Path, **found: object) -> None:
    """Everything that was found, as one JSON object."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1, default=_plain) + "\n", encoding="utf-8")


def _plain(value: object) -> object:
    if isinstance(value, Row | Work | Difference):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} has no place in the file")


def _number(value: float | None, digits: int) -> str:
    return "" if value is None or value != value else f"{value:.{digits}f}"


def _median(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f}" if values else ""


def teacher(row: Row, tokens: int) -> str:
    """The 0.5B teacher's run, beside the published one, which holds two evaluations by vLLM too."""
    if not row.tok_s:
        return f"0.5B teacher: {row.note}"
    seconds = tokens / row.speed
    return (
        f"0.5B teacher: {row.speed:,.0f} tok/s, {seconds:,.0f} s a run (published {TEACHER_RUN_S} "
        "s, with two evaluations)"
    )
