"""Mutants: a function with a single small bug (DeMillo, Lipton and Sayward 1978). Whether it is
one, execution must show."""

import ast
import random
from collections.abc import Iterator

from aarlab.problems.code_catalogue.styles import local_names

OPERATORS: dict[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Add: (ast.Sub, ast.Mult),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Add,),
    ast.FloorDiv: (ast.Mod,),
    ast.Mod: (ast.FloorDiv,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
    ast.Break: (ast.Continue,),
    ast.Continue: (ast.Break,),
}
TWINS = (
    "min max",
    "any all",
    "sum len",
    "upper lower",
    "isupper islower",
    "isdigit isalpha",
    "startswith endswith",
    "find rfind",
    "union intersection",
)
TWIN = {a: b for pair in TWINS for a, b in (pair.split(), reversed(pair.split()))}
# in which node, which field, at which place of it, what instead
Edit = tuple[ast.AST, str, int, ast.AST]


def mutants(function: str, rng: random.Random, n: int) -> list[str]:
    """Up to `n` mutants of the function; each differs from it in one place, which is on one
    line."""
    tree = ast.parse(function)
    edits = list(_edits(tree))
    found = []
    for parent, field, at, other in rng.sample(edits, min(n, len(edits))):
        value = getattr(parent, field)
        if isinstance(value, list):
            setattr(parent, field, [*value[:at], other, *value[at + 1 :]])
        else:
            setattr(parent, field, other)
        found.append(ast.unparse(tree))
        setattr(parent, field, value)
    return [f for f in found if f != function]


def _edits(tree: ast.AST) -> Iterator[Edit]:
    collections = _collections(tree)
    names = [n for n in local_names(tree) if n not in collections]
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            for at, child in enumerate(value if isinstance(value, list) else [value]):
                for other in _alternatives(child, names):
                    yield parent, field, at, other


def _collections(tree: ast.AST) -> set[str]:
    """Names that start as a list, dict, set or string: nobody takes them for a number by
    mistake."""
    kinds = (ast.List, ast.Dict, ast.Call, ast.ListComp, ast.DictComp)
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value="")):
                found.add(name)
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if isinstance(value, kinds):
                found.add(name)
    return found


def _alternatives(node: object, names: list[str]) -> Iterator[ast.AST]:
    match node:
        case ast.Constant() | ast.Name(ctx=ast.Load()) | ast.Attribute():
            yield from _other_terms(node, names)
        case ast.UnaryOp(operand=operand):
            yield operand
        case ast.Slice(lower, upper, step) if (lower is None) != (upper is None):
            yield ast.Slice(upper, lower, step)
        case ast.IfExp(test, body, orelse):
            yield ast.IfExp(test, orelse, body)
        case ast.BinOp(left, ast.Sub() | ast.FloorDiv() | ast.Mod() as op, right):
            yield ast.BinOp(right, op, left)
        case ast.Call():
            yield from _other_calls(node)
        case ast.AST():
            yield from (other() for other in OPERATORS.get(type(node), ()))


def _other_terms(term: ast.expr, names: list[str]) -> Iterator[ast.AST]:
    """A neighbouring constant, another variable, a twin."""
    match term:
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield from (ast.Constant(other) for other in (value - 1, value + 1) if other >= 0)
        case ast.Name(id=name) if name in names:
            yield from (ast.Name(other, ast.Load()) for other in names if other != name)
        case ast.Name(id=name) if name in TWIN:
            yield ast.Name(TWIN[name], ast.Load())
        case ast.Attribute(value, attr) if attr in TWIN:
            yield ast.Attribute(value, TWIN[attr], ast.Load())


def _other_calls(call: ast.Call) -> Iterator[ast.AST]:
    """Arguments swapped, an order reversed, a negation added."""
    if len(call.args) == 2:
        yield ast.Call(call.func, call.args[::-1], call.keywords)
    match call:
        case ast.Call(func=ast.Name(id="sorted"), keywords=[ast.keyword(arg="reverse")]):
            yield ast.Call(call.func, call.args, [])
        case ast.Call(func=ast.Name(id="sorted")):
            yield ast.Call(
                call.func, call.args, [*call.keywords, ast.keyword("reverse", ast.Constant(True))]
            )
        case ast.Call(func=ast.Attribute(attr=name)) if name.startswith("is") or name.endswith(
            "with"
        ):
            yield ast.UnaryOp(ast.Not(), call)
