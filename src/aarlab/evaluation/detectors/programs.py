"""What a snapshot's program is, up to numbers, names, comments and white space: a hash of its
normalised syntax trees."""

import ast
import hashlib
import warnings
from collections.abc import Mapping

# characters of a file and of all Python of a snapshot; what is longer stands for itself: a second
# per 64 KiB is what the worst text takes, and submissions wait meanwhile
LONGEST, MOST = 64 << 10, 128 << 10
SILENT = {"ctx", "annotation", "returns", "type_comment", "kind", "type_params", "asname"}
GIVEN = {"id", "arg", "name"}  # fields of nodes that may be a name of the file's own


def program_of(files: Mapping[str, str]) -> str:
    """SHA-256 of the normalised files. Files' own names do not count; what is no Python stands for
    itself, without spaces."""
    python = {name for name in files if name.endswith(".py")}
    if sum(len(files[name]) for name in python) > MOST:
        python = set()
    parts = sorted(_normal(text, name in python) for name, text in files.items())
    return hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()


def _normal(text: str, is_python: bool) -> str:
    if not is_python or len(text) > LONGEST:
        return "".join(text.split())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd escape in a stranger's string
            tree = ast.parse(text)
        return _Normal(tree).text
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "".join(text.split())


class _Normal:
    """The tree as text: numbers are one number, the file's own names are numbered in the order in
    which they are met, and statements that do nothing (docstrings, constants that nobody reads) are
    left out. Strings stay: they choose what is run."""

    def __init__(self, tree: ast.Module) -> None:
        self._own: set[str] = set()
        self._read: set[str] = set()
        for node in ast.walk(tree):
            self._note(node)
        self._numbers: dict[str, str] = {}
        self._out: list[str] = []
        self._write(tree)
        self.text = " ".join(self._out)

    def _note(self, node: ast.AST) -> None:
        if isinstance(node, ast.Name):
            (self._read if isinstance(node.ctx, ast.Load) else self._own).add(node.id)
        elif isinstance(node, ast.alias):
            self._own.add(node.asname or node.name.split(".")[0])
        elif isinstance(node, ast.arg):
            self._own.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self._own.add(node.name)

    def _name(self, name: str) -> str:
        return (
            self._numbers.setdefault(name, f"v{len(self._numbers)}") if name in self._own else name
        )

    def _write(self, node: ast.AST) -> None:
        if isinstance(node, ast.Constant):
            self._out.append(
                "0" if isinstance(node.value, int | float | complex) else repr(node.value)
            )
        elif isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant):
            self._write(node.operand)  # a signed number is a number
        elif isinstance(node, ast.alias):
            self._out += [node.name, self._name(node.asname or node.name.split(".")[0])]
        else:
            self._out += ["(", type(node).__name__]
            for field, value in ast.iter_fields(node):
                if field not in SILENT:
                    self._field(node, field, value)
            self._out.append(")")

    def _field(self, node: ast.AST, field: str, value: object) -> None:
        if isinstance(value, ast.AST):
            self._write(value)
        elif isinstance(value, list):
            self._out.append("[")
            for one in value:
                if isinstance(one, ast.AST) and not self._idle(one):
                    self._write(one)
            self._out.append("]")
        elif isinstance(value, str):
            keyword = isinstance(node, ast.keyword)  # another function's parameter
            self._out.append(self._name(value) if field in GIVEN and not keyword else value)

    def _idle(self, line: ast.AST) -> bool:
        """Does the statement nothing?"""
        if isinstance(line, ast.Expr):
            return isinstance(line.value, ast.Constant)
        if isinstance(line, ast.Assign) and all(
            isinstance(t, ast.Name) and t.id not in self._read for t in line.targets
        ):
            return all(
                isinstance(n, ast.Constant | ast.Dict | ast.Tuple | ast.List | ast.Load)
                for n in ast.walk(line.value)
            )
        return isinstance(line, ast.Pass)
