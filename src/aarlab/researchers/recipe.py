"""The search space of the search researcher: label source, filter, weight, loss, schedule and
representation.

A recipe maps each dimension to an option; `source_of` writes the method file of a recipe, which
calls `aarlab.methods.parts`.
"""

import json
import random
import re
from collections.abc import Mapping

from aarlab.core.records import Family

Recipe = dict[str, str]  # dimension -> option

# Each option is an expression in the method file, with the family of methods that it belongs to.
OPTIONS: dict[str, dict[str, Family | None]] = {
    "layers": {
        "(16,)": None,
        "(12,)": Family.MODEL_INTERNALS,
        "(20,)": Family.MODEL_INTERNALS,
        "(16, 20)": Family.MODEL_INTERNALS,
        "(12, 16, 20)": Family.MODEL_INTERNALS,
        "parts.evolve_layers(task, labels, seed)": Family.EVOLUTIONARY,
    },
    "rank": {
        "None": None,
        "32": Family.MODEL_INTERNALS,
        "64": Family.MODEL_INTERNALS,
        "128": Family.MODEL_INTERNALS,
    },
    "features": {
        "student, test": None,
        "parts.erase_zero_shot(task, student, test)": Family.MODEL_INTERNALS,
    },
    "labels": {
        "task.weak_probs_N": None,
        "task.critic_probs_N": Family.OTHER,
        "parts.product_labels(task, trust=0.5)": Family.DISTILLATION,
        "parts.product_labels(task, trust=2.0)": Family.DISTILLATION,
        "parts.noisy_channel_labels(task)": Family.ENSEMBLE,
        "parts.elicited_labels(task, student, seed)": Family.UNSUPERVISED_ELICITATION,
        "parts.elicited_labels(task, student, seed, rounds=1)": Family.UNSUPERVISED_ELICITATION,
    },
    "relabel": {
        "labels": None,
        "parts.self_trained_labels(student, labels, seed, rounds=1)": Family.SELF_TRAINING,
        "parts.self_trained_labels(student, labels, seed, rounds=3)": Family.SELF_TRAINING,
        "parts.self_trained_labels(student, labels, seed, rounds=6)": Family.SELF_TRAINING,
        "parts.curriculum(student, labels)": Family.CURRICULUM,
        "parts.curriculum(student, labels, shares=(0.2, 0.4, 0.8))": Family.CURRICULUM,
    },
    "targets": {"parts.harden(labels)": None, "labels": Family.DISTILLATION},
    "keep": {
        "None": None,
        "parts.confident(labels, share=0.3)": Family.DATA_FILTERING,
        "parts.confident(labels, share=0.6)": Family.DATA_FILTERING,
        "parts.agreeing(labels, task.weak_probs_N)": Family.DATA_FILTERING,
        "parts.dense(student, labels, share=0.5)": Family.DATA_FILTERING,
        "parts.dense(student, labels, share=0.8)": Family.DATA_FILTERING,
        "parts.co_teaching(student, labels, seed)": Family.CURRICULUM,
    },
    "weights": {
        "None": None,
        "parts.confidence_weights(labels)": Family.CONFIDENCE_WEIGHTING,
        "parts.confidence_weights(labels, power=2.0)": Family.CONFIDENCE_WEIGHTING,
    },
    "loss": {
        "parts.cross_entropy": None,
        "parts.auxiliary_confidence(0.3)": Family.LOSS_FUNCTION,
        "parts.auxiliary_confidence(0.6)": Family.LOSS_FUNCTION,
        "parts.generalised_cross_entropy(0.4)": Family.LOSS_FUNCTION,
        "parts.generalised_cross_entropy(0.8)": Family.LOSS_FUNCTION,
    },
    "heads": {"1": None, "6": Family.ENSEMBLE, "12": Family.ENSEMBLE},
    "l2": {"1.0": None, "0.1": None, "0.3": None, "3.0": None, "10.0": None},
}
PLAIN: Recipe = {dimension: next(iter(options)) for dimension, options in OPTIONS.items()}
BORROWED = 2  # options of other families in a recipe within a direction
_MARK = "RECIPE = "


def key_of(recipe: Recipe) -> str:
    """The recipe as one line of JSON with sorted keys, which identifies it."""
    return json.dumps(recipe, sort_keys=True)


def families_of(recipe: Recipe) -> set[Family]:
    """The families of all its options that differ from the plain recipe."""
    return {f for dimension, option in recipe.items() if (f := OPTIONS[dimension][option])}


def options_of(family: Family) -> list[tuple[str, str]]:
    """Every (dimension, option) of this family."""
    return [(d, o) for d, options in OPTIONS.items() for o, f in options.items() if f is family]


def mutate(recipe: Recipe, changes: Mapping[str, str], rng: random.Random, extra: int) -> Recipe:
    """The recipe with the given changes and `extra` random ones."""
    child = recipe | dict(changes)
    for dimension in rng.sample(sorted(OPTIONS), extra):
        if dimension not in changes:
            child[dimension] = rng.choice(sorted(OPTIONS[dimension]))
    return child


def options_in_order(recipe: Recipe) -> tuple[str, ...]:
    """Its options, in the order of OPTIONS."""
    return tuple(recipe[dimension] for dimension in OPTIONS)


def directed(recipe: Recipe, family: Family, rng: random.Random) -> Recipe:
    """The recipe within a direction: at least one option of that family, and at most BORROWED
    of others."""
    child, own = dict(recipe), options_of(family)
    others = [d for d, o in child.items() if OPTIONS[d][o] not in (None, family)]
    for dimension in rng.sample(others, max(0, len(others) - BORROWED)):
        child[dimension] = PLAIN[dimension]
    if own and family not in families_of(child):
        dimension, option = rng.choice(own)
        child[dimension] = option
    return child


def source_of(recipe: Recipe, *, family: Family, author: str) -> str:
    """The text of the method file of a recipe."""
    evolved = recipe["layers"].startswith("parts.")
    label_needs_student = "student" in recipe["labels"]
    layers = "layers" if evolved else recipe["layers"]
    represent = [f"    student, test = parts.represent(task, {layers}, rank={recipe['rank']})"]
    if recipe["features"] != PLAIN["features"]:
        represent += [f"    student, test = {recipe['features']}"]
    labels = f"    labels = {recipe['labels']}"
    first = [*represent, labels]
    if evolved:
        start = ["    student, test = parts.represent(task)"] if label_needs_student else []
        first = [*start, labels, f"    layers = {recipe['layers']}", *represent]
    l2 = recipe["l2"]
    train = (
        f"parts.train(student, targets, keep=keep, weights_N=weights, loss={recipe['loss']}, "
        f"l2={l2}).probs(test)"
        if recipe["heads"] == "1"
        else f"parts.bagged(student, targets, test, seed, heads={recipe['heads']}, keep=keep, "
        "weights_N=weights, "
        f"loss={recipe['loss']}, l2={l2})"
    )
    body = [
        *first,
        *([] if recipe["relabel"] == "labels" else [f"    labels = {recipe['relabel']}"]),
        f"    targets = {recipe['targets']}",
        f"    keep = {recipe['keep']}",
        f"    weights = {recipe['weights']}",
        f"    return {train}",
    ]
    head = (
        f'"""{family.value}, by {author}."""\n\nfrom aarlab.methods import '
        f"parts\n\n{_MARK}{key_of(recipe)}\n"
    )
    return f"{head}\n\ndef run(task, seed):\n" + "\n".join(body) + "\n"


def recipe_in(source: str) -> Recipe | None:
    """The recipe of a method file, or None if `source_of` did not write the file."""
    found = re.search(rf"^{_MARK}(\{{.*\}})$", source, re.MULTILINE)
    if not found:
        return None
    try:
        recipe = json.loads(found[1])
    except (ValueError, RecursionError):  # anybody writes such a line: a huge number, deep lists
        return None
    known = isinstance(recipe, dict) and recipe.keys() == OPTIONS.keys()
    return recipe if known and all(recipe[d] in list(OPTIONS[d]) for d in OPTIONS) else None
