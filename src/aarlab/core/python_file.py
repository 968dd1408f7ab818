"""A Python file of somebody else as a module."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def load_file(path: Path, name: str) -> ModuleType:
    """The file's code, executed as a module; it raises what the code raises. The module has the
    file's own name where that is free, so that a child process can import what is sent to it by
    name; otherwise `name`. It is registered, as dataclasses and pickle require."""
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    name = path.stem if _is_found_as(path.stem, path) else name
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None
    assert specification.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _is_found_as(name: str, path: Path) -> bool:
    """Whether `import name` would load that file."""
    try:
        found = importlib.util.find_spec(name) if name.isidentifier() else None
    except ValueError:  # a module without a specification, such as __main__
        return False
    return found is not None and found.origin == str(path)
