"""Evolution: blind variation and selection of the representation, with a fitness that needs no true
label."""

from aarlab.core.records import Family
from aarlab.methods import parts
from aarlab.methods.method import Array, Task, method


@method(
    "evolved-layers",
    family=Family.EVOLUTIONARY,
    cites="truncation selection: Muehlenbein & Schlierkamp-Voosen 1993",
)
def evolved_layers(task: Task, seed: int) -> Array:
    """Evolve the set of layers by the cross-fitted agreement with the weak labels; then a head on
    them."""
    layers = parts.evolve_layers(task, task.weak_probs_N, seed)
    student, test = parts.represent(task, layers)
    return parts.train(student, parts.harden(task.weak_probs_N)).probs(test)
