"""Every attack on the whole evaluator: those that register themselves in the modules imported
here."""

from collections.abc import Callable, Iterable
from pathlib import Path

from aarlab.redteam import (  # noqa: F401 - they register themselves
    on_confirmation,
    on_evaluator,
    on_grader,
    on_lab,
    on_ledger,
    on_record,
    on_server,
    on_stall,
    on_verdict,
    side_channels,
)
from aarlab.redteam.system import SYSTEM, AttackRow, AttackScale


def attack_system(
    folder: Path,
    scale: AttackScale,
    names: Iterable[str] | None = None,
    *,
    progress: Callable[[str], None] = lambda words: None,
) -> list[AttackRow]:
    """Every attack (or those named), each in a folder of its own; `progress` hears which is at
    work."""
    chosen = list(SYSTEM) if names is None else list(names)
    rows = []
    for number, name in enumerate(chosen):
        progress(name)
        rows.append(SYSTEM[name](_own(folder, number), scale))
    return rows


def _own(folder: Path, number: int) -> Path:
    made = folder / f"attack-{number}"
    made.mkdir(parents=True)
    return made
