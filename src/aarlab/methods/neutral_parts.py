"""Methods without one part of the library: what stands in the place of each part that can be taken
out. Parts without which nothing is learned (`train`, `learn`, `cross_fit`) cannot.

Code that looks for it in modules, sources, frames and objects finds no trace of this module. It can
still see what a part returns, and which files lie beside it (docs/limits.md).

Legend: N student pairs, K sources of labels.
"""

import ast
import inspect
import linecache
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType

from aarlab import methods
from aarlab.core.errors import Misconfigured
from aarlab.methods import parts

_WEAK = "the weak labels", "return task.weak_probs_N"
_SAME = "the labels as they are", "return labels_N"
_ALL = "all pairs", "return np.arange(len(labels_N))"
_PLAIN_LOSS = "cross-entropy", "return cross_entropy"

# by part: what stands in its place, in words, and as the body of its function
NEUTRAL: dict[str, tuple[str, str]] = {
    "represent": (
        "one layer, all of it",
        "return tuple(_stack(inputs, (LAYER,)) for inputs in (task.student, task.test))",
    ),
    "erase_zero_shot": ("the features as they are", "return student, test"),
    "product_labels": _WEAK,
    "noisy_channel_labels": _WEAK,
    "noisy_channel": ("the mean vote", "return votes_KN.mean(axis=0)"),
    "elicited_labels": _WEAK,
    "self_trained_labels": _SAME,
    "curriculum": _SAME,
    "harden": _SAME,
    "confident": _ALL,
    "agreeing": _ALL,
    "dense": _ALL,
    "co_teaching": _ALL,
    "confidence_weights": ("equal weights", "return np.ones(len(labels_N))"),
    "auxiliary_confidence": _PLAIN_LOSS,
    "generalised_cross_entropy": _PLAIN_LOSS,
    "bagged": (
        "one head",
        "return train(pairs_N2D, labels_N, keep=keep, weights_N=weights_N, loss=loss, l2=l2)"
        ".probs(test_M2D)",
    ),
    "mean_difference": (
        "a linear head",
        "return train(pairs_N2D, labels_N).probs(test_M2D)",
    ),
    "evolve_layers": ("one layer", "return (LAYER,)"),
}


def code_without(name: str, wrapper: str, method: str) -> CodeType:
    """The code of a method file, which its wrapper executes in its own place, after one part of the
    library was taken out. What other parts do inside stays as it is. This module is gone then: it
    is imported again for another part.

    Raises:
        Misconfigured: there is no such part.
    """
    take_out(name)
    source = Path(wrapper).with_name(method).read_text("utf-8")
    code = compile(source, wrapper, "exec", dont_inherit=True)
    # its own source, not the wrapper's, for who asks `inspect`
    linecache.cache[wrapper] = len(source), None, source.splitlines(keepends=True), wrapper
    del methods.neutral_parts  # type: ignore[attr-defined]
    vars(sys.modules.pop(__name__)).clear()
    return code


def take_out(name: str) -> None:
    """Let a part of the library do nothing. Its function stays the same object, with its signature
    and its place in the source.

    Raises:
        Misconfigured: there is no such part.
    """
    if name not in NEUTRAL:
        raise Misconfigured(f"'{name}' is no part that can be taken out: {', '.join(NEUTRAL)}.")
    part = getattr(parts, name)
    made = _with_body(part, NEUTRAL[name][1])
    _keep_inside(part)
    part.__code__ = made


def _with_body(part: FunctionType, body: str) -> CodeType:
    """The code of a function of the same head, on the same line, with another body."""
    tree = ast.parse(inspect.getsource(part))
    (head,) = tree.body
    assert isinstance(head, ast.FunctionDef)
    head.body = [head.body[0], *ast.parse(body).body]  # its docstring is the first
    for node in (inner for statement in head.body for inner in ast.walk(statement)):
        if isinstance(node, ast.stmt | ast.expr):
            ast.copy_location(node, head)
    ast.increment_lineno(tree, part.__code__.co_firstlineno - 1)
    codes = _codes(compile(tree, part.__code__.co_filename, "exec", dont_inherit=True))
    return next(code for code in codes if code.co_name == part.__name__)


def _keep_inside(part: FunctionType) -> None:
    """Other parts that call it have it as it was, under a private name."""
    name, shown = part.__name__, vars(parts)
    users = [
        other
        for other in shown.values()
        if isinstance(other, FunctionType)
        and other is not part
        and any(name in code.co_names for code in _codes(other.__code__))
    ]
    if users:
        kept = FunctionType(part.__code__, shown, name, part.__defaults__)
        kept.__kwdefaults__ = part.__kwdefaults__
        shown[f"_{name}"] = kept
    for user in users:
        user.__code__ = _renamed(user.__code__, name, f"_{name}")


def _renamed(code: CodeType, name: str, other: str) -> CodeType:
    inner = (_renamed(c, name, other) if isinstance(c, CodeType) else c for c in code.co_consts)
    names = tuple(other if n == name else n for n in code.co_names)
    return code.replace(co_consts=tuple(inner), co_names=names)


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A code and those inside it."""
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _codes(inner)
