"""Texts that Python and the libraries of this package bring along: code, headers, tables and help.
Which of them the hidden documents are from is drawn."""

import ast
import json
import shutil
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import numpy as np

LENGTH = 1500  # characters of a document, about; no document has fewer than half
EACH = 60  # documents of one source in the pool, at most
TARGETS, SIZES = 3, {"public": 20, "feedback": 60, "final": 60}
SHARES = {"pool": 3, "public": 1, "feedback": 2, "final": 2}  # of each source
STDLIB = Path(sysconfig.get_path("stdlib"))
NUMPY, SKLEARN, MATPLOTLIB = (
    Path(find_spec(name).origin).parent for name in ("numpy", "sklearn", "matplotlib")
)
FILES = {
    "network code": (STDLIB / "asyncio", "*.py"),
    "codec tables": (STDLIB / "encodings", "*.py"),
    "headers": (NUMPY / "_core" / "include", "*.h"),
    "stubs": (NUMPY, "*.pyi"),
    "learning code": (SKLEARN / "linear_model", "*.py"),
    "font tables": (MATPLOTLIB / "mpl-data" / "fonts" / "afm", "*.afm"),
}


def documents(text):
    """A text in parts of whole lines."""
    found, part = [], ""
    for line in text.splitlines(keepends=True):
        part += line
        if len(part) >= LENGTH:
            found.append(part[: 2 * LENGTH])
            part = ""
    return [*found, part] if len(part) >= LENGTH // 2 else found


def docstrings(path):
    """All docstrings of a file, as one text."""
    places = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [ast.get_docstring(n) for n in ast.walk(tree) if isinstance(n, places)]
    return "\n".join(text for text in found if text)


def read_sources():
    """By source, by file (or topic of the help), its documents."""
    found = {}
    for name, (folder, pattern) in FILES.items():
        found[name] = {
            path.relative_to(folder).as_posix(): documents(path.read_text(encoding="utf-8"))
            for path in sorted(folder.rglob(pattern))
        }
    top = sorted(STDLIB.glob("[a-z]*.py"))
    found["docstrings"] = {p.name: documents(docstrings(p)) for p in top}
    space = {}
    exec((STDLIB / "pydoc_data" / "topics.py").read_text(encoding="utf-8"), space)
    found["topics"] = {name: documents(t) for name, t in space["topics"].items()}
    return without_doubles(found)


def without_doubles(sources):
    """The same without a document that an earlier one equals."""
    known = set()
    for by_file in sources.values():
        for name, texts in by_file.items():
            by_file[name] = [text for text in dict.fromkeys(texts) if text not in known]
            known.update(texts)
    return sources


def cut(rng, source, by_file):
    """The files of a source, in four parts, for the pool, the public sample and the two splits. No
    file is in two parts."""
    names = [name for name in sorted(by_file) if by_file[name]]
    parts = {part: [] for part in SHARES}
    for name in rng.permutation(names):
        part = min(parts, key=lambda p: len(parts[p]) / SHARES[p])
        parts[part] += [(f"{source}: {name}", text) for text in by_file[name]]
    return {part: [found[i] for i in rng.permutation(len(found))] for part, found in parts.items()}


def prepare(seed, public, sealed, secret):
    rng, sources = np.random.default_rng(seed), read_sources()
    parts = {name: cut(rng, name, by_file) for name, by_file in sources.items()}
    weights = dict.fromkeys(rng.choice(sorted(parts), TARGETS, replace=False).tolist())
    weights = dict(zip(weights, rng.dirichlet([6.0] * TARGETS).tolist(), strict=True))
    pool = [text for part in parts.values() for _, text in part["pool"][:EACH]]
    pool = {f"d{n:03d}": pool[i] for n, i in enumerate(rng.permutation(len(pool)))}
    write(public / "pool.jsonl", [{"id": name, "text": text} for name, text in pool.items()])
    shutil.copy(Path(__file__).with_name("bytes_model.py"), public)
    for split, size in SIZES.items():
        hidden = draw(rng, parts, weights, split, size)
        if split == "public":
            write(public / "sample.jsonl", [{"text": text} for _, text in hidden])
            continue
        units = {f"{split}-{n:02d}": row for n, row in enumerate(hidden)}
        texts = {unit: text for unit, (_, text) in units.items()}
        (secret / split / "documents.json").write_text(json.dumps(texts))
        clusters = {unit: file for unit, (file, _) in units.items()}
        (secret / split / "units.json").write_text(json.dumps(clusters))


def draw(rng, parts, weights, split, size):
    """Documents of the mixture, (file, text) each."""
    names = rng.choice(list(weights), size, p=list(weights.values()))
    left = {name: parts[name][split] for name in weights}
    found = []
    for name in names:
        most = max(left, key=lambda n: len(left[n]))  # for a source of which none is left
        found.append(left[name if left[name] else most].pop())
    return found


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
