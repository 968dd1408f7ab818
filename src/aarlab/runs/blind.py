"""A testbed as researchers see it in code mode: the student split alone, by an allow-list. Nothing of a test split is in it."""

import json
import os
import shutil
import tempfile
from pathlib import Path

from aarlab.core.errors import Misconfigured
from aarlab.runs.testbed import Testbed

SHOWN = ("problem.json", "weak_probs.npy", "critic_probs.npy", "student.jsonl", "student/favour.npy", "student/layer_*.npy")


def blind(bed: Testbed) -> Testbed:
    """The blind view of a testbed, as hard links in a folder beside its own; made once. Its only split is `student`.

    Raises:
        Misconfigured: the testbed lacks what it should hold.
    """
    made = Testbed(bed.folder / "blind", from_cache=True)
    if made.folder.exists():
        return made
    partial = Path(tempfile.mkdtemp(prefix=".blind-", dir=bed.folder))
    partial.chmod(0o755)
    (partial / "public" / "student").mkdir(parents=True)
    (partial / "private").mkdir(mode=0o700)
    for pattern in (*SHOWN, *(["strong.json"] if bed.preset else [])):
        found = sorted(bed.public.glob(pattern))
        if not found:
            raise Misconfigured(f"{bed.public} holds no {pattern}. Set the testbed up again.")
        for path in found:
            os.link(path, partial / "public" / path.relative_to(bed.public))
    (partial / "private" / "ready.json").write_text(json.dumps({"blind": bed.fingerprint}))
    try:
        partial.replace(made.folder)
    except OSError:  # another process was faster; its view is the same
        if not made.folder.exists():
            raise
        shutil.rmtree(partial)
    return made
