"""Which student a name means."""

from aarlab.core.settings import Home
from aarlab.models.preset import FROZEN, preset
from aarlab.runs.student import COUNTING, Say, Student, smollm2


def tasks_of(name: str) -> tuple[str, ...]:
    """The problems that a student's preset is for; () where it says nothing about them.

    Raises:
        Misconfigured: there is no such preset.
    """
    return () if name in FROZEN else preset(name).tasks


def student_of(name: str, home: Home, *, workers: int, say: Say) -> Student:
    """`smollm2` (frozen), `double`, or a preset whose models are fine-tuned, by name or YAML file.

    Raises:
        Misconfigured: there is no such preset.
    """
    if name == "double":
        return COUNTING
    if name == "smollm2":
        return smollm2(home, workers)
    from aarlab.runs.tuned import tuned

    return tuned(preset(name), home, say)
