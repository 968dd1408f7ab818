"""`aarlab.task(...)`: the input of a method, for whoever writes one outside a sandbox."""

from aarlab.core.settings import home
from aarlab.methods.method import Task
from aarlab.testbeds.set_up import prepare
from aarlab.testbeds.students import student_of
from aarlab.testbeds.task_data import load_task


def task(
    problem: str = "small-chat", *, data_seed: int = 1, student: str = "smollm2", seed: int = 0
) -> Task:
    """The input of a method on a problem's feedback items, as a run with this seed gets it.

    The problem is set up in the state folder (`AAR_HOME`) where it is not yet: with the default
    student that takes minutes once; `student="double"` and `problem="generated-chat"` take
    seconds and measure nothing real. A student that is fine-tuned is not loaded: `strong` is None.

    Raises:
        Misconfigured, Transient: the problem or student is unknown, or cannot be set up.
    """

    def say(what: str, done: int, of: int) -> None:
        if not done:
            print(f"aarlab.task: {what}", flush=True)  # noqa: T201 - who writes a method waits

    reader = student_of(student, home(), workers=2, progress=say)
    bed = prepare(problem, data_seed, home=home(), student=reader, progress=say, whole=False)
    return load_task(bed.public, bed.public, "feedback", seed)
