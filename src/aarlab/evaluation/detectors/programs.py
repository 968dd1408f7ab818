"""What a snapshot's program is, up to constants, names, comments and white space: a hash of its normalised syntax trees."""

import ast
import hashlib
import warnings
from collections.abc import Mapping

LONGEST = 64 << 10  # characters of a file; longer ones stand for themselves


def program_of(files: Mapping[str, str]) -> str:
    """SHA-256 of the normalised files. Files' own names do not count; what is no Python stands for itself, without spaces."""
    parts = sorted(_normal(name, text) for name, text in files.items())
    return hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()


def _normal(name: str, text: str) -> str:
    if not name.endswith(".py") or len(text) > LONGEST:
        return "".join(text.split())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd escape in a stranger's string
            tree = ast.parse(text)
        return ast.dump(_Normal(tree).visit(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "".join(text.split())


def _bound(tree: ast.AST) -> set[str]:
    """Names that the file itself gives: those of others (built-ins, attributes, keywords) say what it does."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.alias):
            found.add(node.asname or node.name.split(".")[0])
    return found


class _Normal(ast.NodeTransformer):
    """Constants become one; own names are numbered in the order in which they are met; docstrings and idle constants go."""

    def __init__(self, tree: ast.AST) -> None:
        self._bound, self._numbers = _bound(tree), dict[str, str]()

    def _name(self, name: str) -> str:
        return self._numbers.setdefault(name, f"v{len(self._numbers)}") if name in self._bound else name

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        """A constant of whatever value."""
        del node
        return ast.Constant(0)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        """Text is a constant."""
        del node
        return ast.Constant(0)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        """A signed number is a number."""
        made = self.generic_visit(node)
        return ast.Constant(0) if isinstance(node.operand, ast.Constant) else made

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """A name of the file's own by its number."""
        return ast.Name(self._name(node.id), node.ctx)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """A parameter by its number, without annotation."""
        return ast.arg(self._name(node.arg))

    def visit_alias(self, node: ast.alias) -> ast.AST:
        """What is imported, under whatever name."""
        self._name(node.asname or node.name.split(".")[0])
        return ast.alias(node.name, None)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """A function by its number."""
        node.name, node.returns = self._name(node.name), None
        return self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Without statements that do nothing: an expression that is a constant, or a constant bound at the file's top."""
        if isinstance(body := getattr(node, "body", None), list):
            top = isinstance(node, ast.Module)
            node.body = [line for line in body if not (_idle(line) or (top and _binds_a_constant(line)))]  # type: ignore[attr-defined]
        return super().generic_visit(node)


def _idle(line: ast.AST) -> bool:
    return isinstance(line, ast.Pass) or (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))


def _binds_a_constant(line: ast.AST) -> bool:
    return isinstance(line, ast.Assign | ast.AnnAssign) and all(
        isinstance(node, ast.Constant | ast.expr_context | ast.Dict | ast.Tuple | ast.List)
        for node in ast.walk(line.value or line)
    )
