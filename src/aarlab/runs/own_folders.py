"""Top folders of a sandbox, such as /workspace, for code that has its paths written in it."""

from collections.abc import Sequence

from aarlab.core.errors import Misconfigured
from aarlab.sandbox.bubblewrap import over_python
from aarlab.sandbox.sandbox import Sandbox


def require_own_folders(sandbox: Sandbox, folders: Sequence[str]) -> None:
    """Raises Misconfigured where the sandbox has no folders of its own at these paths: code would
    write into this machine's; or where one would hide the Python that runs it."""
    if over := over_python(folders):
        sandbox.close()
        raise Misconfigured(
            f"The problem's code needs the folder {over}, and the Python that runs aarlab lies "
            "below it. Take another name in `folders` of problem.yaml, or install aarlab elsewhere."
        )
    if moved := [f for f in folders if sandbox.inside(f) != f]:
        sandbox.close()
        raise Misconfigured(
            f"The problem's code needs the folder {moved[0]}, and this sandbox has no file system "
            "of its own. Use the sandbox bubblewrap or docker."
        )
