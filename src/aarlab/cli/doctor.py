"""What this machine has and lacks."""

import importlib.util
import os
import shutil
import sys

from rich.console import Console

from aarlab.core.settings import home
from aarlab.problems import PROBLEMS
from aarlab.sandbox.bubblewrap import REMEDY, probe

NEEDED_BYTES = 3 << 30


def examine(console: Console) -> bool:
    """Print one line a check; True if the demo can run."""
    root = home().root
    free = shutil.disk_usage(root if root.exists() else root.parent).free
    missing = [name for name in ("torch", "transformers", "gguf", "accelerate") if importlib.util.find_spec(name) is None]
    words = probe()
    checks = [
        (sys.version_info >= (3, 11), f"Python {sys.version.split()[0]}", "install Python 3.11 or newer"),
        (not missing, "packages for the real student", f"pip install 'aarlab[models]' (missing: {', '.join(missing)})"),
        (words is None, "sandbox: bubblewrap", f"{words}. {REMEDY}"),
        (os.geteuid() != 0 or shutil.which("setpriv") is not None, "setpriv (as root)", "install util-linux"),
        (free > NEEDED_BYTES, f"disk: {free / 1e9:.1f} GB free for {root}", "free 3 GB, or set AAR_HOME elsewhere"),
    ]
    for good, what, remedy in checks:
        console.print(f"{'ok     ' if good else 'MISSING'} {what}{'' if good else ': ' + remedy}", soft_wrap=True)
    console.print(f"problems: {', '.join(PROBLEMS)}; cores: {os.cpu_count()}; state: {root}", soft_wrap=True)
    return all(good for good, _, _ in checks)
