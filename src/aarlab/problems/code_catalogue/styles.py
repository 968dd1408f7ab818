"""The same function written otherwise: rewritings that keep what it does, and other names for its
variables."""

import ast
import random
from collections.abc import Callable

NAMES: dict[str, tuple[str, ...]] = {
    "xs": ("xs", "numbers", "values", "nums", "items", "data", "arr"),
    "ys": ("ys", "others", "more", "second", "rest"),
    "words": ("words", "strings", "items", "texts", "names", "entries"),
    "d": ("d", "counts", "table", "mapping", "data", "scores"),
    "s": ("s", "text", "string", "word", "line", "phrase"),
    "t": ("t", "other", "second", "sub", "pattern"),
    "n": ("n", "num", "number", "m", "value"),
    "a": ("a", "x", "first", "m", "p", "left"),
    "b": ("b", "y", "other", "n", "q", "right"),
    "k": ("k", "limit", "m", "given", "size", "n"),
    "x": ("x", "v", "num", "value", "item", "e"),
    "y": ("y", "z", "u", "nxt", "after"),
    "v": ("v", "value", "val", "amount", "x"),
    "w": ("w", "word", "item", "part", "name"),
    "c": ("c", "ch", "char", "letter", "sign"),
    "q": ("d", "q", "e", "part", "z"),
    "i": ("i", "index", "pos", "at", "idx"),
    "j": ("j", "other", "mirror", "back"),
    "r": ("r", "rest", "left", "rem"),
    "key": ("key", "k", "name", "label"),
    "total": ("total", "acc", "result", "answer", "running"),
    "count": ("count", "total", "found", "hits", "counter", "tally"),
    "result": ("result", "out", "answer", "output", "res"),
    "kept": ("kept", "chosen", "picked", "selected", "filtered"),
    "best": ("best", "current", "winner", "top", "candidate"),
    "seen": ("seen", "known", "met", "unique"),
}
NEGATED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
MIRRORED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.Gt,
    ast.Gt: ast.Lt,
    ast.LtE: ast.GtE,
    ast.GtE: ast.LtE,
}
NEXT_BOUND: dict[type[ast.cmpop], tuple[type[ast.cmpop], int]] = {
    ast.Lt: (ast.LtE, -1),
    ast.LtE: (ast.Lt, 1),
    ast.Gt: (ast.GtE, 1),
    ast.GtE: (ast.Gt, -1),
}


class MirrorComparisons(ast.NodeTransformer):
    """a < b becomes b > a, unless b is a constant."""

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        mirrored = MIRRORED.get(type(node.ops[0]))
        if len(node.ops) == 1 and mirrored and not isinstance(node.comparators[0], ast.Constant):
            return ast.Compare(node.comparators[0], [mirrored()], [node.left])
        return node


class MoveBounds(ast.NodeTransformer):
    """x > 3 becomes x >= 4, and the other way round: the same for integers."""

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        bound, moved = node.comparators[0], NEXT_BOUND.get(type(node.ops[0]))
        if (
            len(node.ops) == 1
            and moved
            and isinstance(bound, ast.Constant)
            and isinstance(bound.value, int)
        ):
            operator, step = moved
            if bound.value + step >= 0:
                return ast.Compare(node.left, [operator()], [ast.Constant(bound.value + step)])
        return node


class SpellOutAugmented(ast.NodeTransformer):
    """total += x becomes total = total + x."""

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        if not isinstance(node.target, ast.Name):
            return node
        return ast.Assign(
            [node.target],
            ast.BinOp(ast.Name(node.target.id, ast.Load()), node.op, node.value),
            lineno=0,
        )


class NameTheResult(ast.NodeTransformer):
    """`return <expression>` becomes two lines, where it is the function's last statement."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        last = node.body[-1]
        if (
            isinstance(last, ast.Return)
            and last.value
            and not isinstance(last.value, ast.Name | ast.Constant)
        ):
            name = "answer"
            node.body[-1:] = [
                ast.Assign([ast.Name(name, ast.Store())], last.value, lineno=0),
                ast.Return(ast.Name(name, ast.Load())),
            ]
        return node


class SkipInstead(ast.NodeTransformer):
    """A loop whose whole body is `if condition: ...` becomes `if not condition: continue` and the
    rest."""

    def visit_For(self, node: ast.For) -> ast.AST:
        inner = node.body[0]
        if (
            len(node.body) == 1
            and isinstance(inner, ast.If)
            and not inner.orelse
            and not isinstance(inner.body[-1], ast.Return)
        ):
            node.body = [ast.If(negated(inner.test), [ast.Continue()], []), *inner.body]
        return node


class ListInside(ast.NodeTransformer):
    """sum(x for ...) becomes sum([x for ...])."""

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> ast.AST:
        return ast.ListComp(node.elt, node.generators)


def negated(test: ast.expr) -> ast.expr:
    """The opposite condition, written as one would."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return test.operand
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        return ast.Compare(test.left, [NEGATED[type(test.ops[0])]()], test.comparators)
    return ast.UnaryOp(ast.Not(), test)


STYLES: tuple[Callable[[], ast.NodeTransformer], ...] = (
    MirrorComparisons,
    MoveBounds,
    SpellOutAugmented,
    NameTheResult,
    SkipInstead,
)


def restyled(function: str, rng: random.Random) -> str:
    """The function in another style: each rewriting is applied or not, and variables get other
    names."""
    tree = ast.parse(function)
    for style in STYLES:
        if rng.random() < 0.4:
            tree = style().visit(tree)
    if "next(" not in function and rng.random() < 0.3:
        tree = ListInside().visit(tree)
    return ast.unparse(_Renamed(_new_names(tree, rng)).visit(tree))


def local_names(tree: ast.AST) -> list[str]:
    """Parameters and assigned names, in order of appearance."""
    found: dict[str, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            found[node.arg] = None
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found[node.id] = None
    return list(found)


def _new_names(tree: ast.AST, rng: random.Random) -> dict[str, str]:
    """An injective map from the local names to names of their pools; a name without a pool
    stays."""
    names = local_names(tree)
    taken = {n for n in names if n not in NAMES}
    chosen: dict[str, str] = {}
    for name in names:
        if name in NAMES:
            free = [other for other in NAMES[name] if other not in taken] or [name + "_"]
            chosen[name] = rng.choice(free)
            taken.add(chosen[name])
    return chosen


class _Renamed(ast.NodeTransformer):
    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(self.names.get(node.id, node.id), node.ctx)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(self.names.get(node.arg, node.arg))
