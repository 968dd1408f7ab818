"""Students by name."""

from aarlab.core.progress_callback import Progress
from aarlab.core.settings import Home
from aarlab.models.preset import FROZEN, preset
from aarlab.testbeds.student import COUNTING, Student, smollm2


def tasks_of(name: str) -> tuple[str, ...]:
    """The problems that a student's preset lists; () if it lists none.

    Raises:
        Misconfigured: there is no such preset.
    """
    return () if name in FROZEN else preset(name).tasks


def student_of(name: str, home: Home, *, workers: int, progress: Progress) -> Student:
    """`smollm2` (frozen), `double`, or a preset whose models are fine-tuned, by name or YAML file.

    Raises:
        Misconfigured: there is no such preset.
    """
    if name == "double":
        return COUNTING
    if name == "smollm2":
        return smollm2(home, workers)
    from aarlab.testbeds.tuned_student import tuned

    return tuned(preset(name), home, progress)
