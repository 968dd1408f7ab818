"""The view of a testbed for researchers in code mode: only the student split, by an allow-list
of files."""

import json
import os
from pathlib import Path

from aarlab.core.errors import Misconfigured
from aarlab.core.files import folder_whole
from aarlab.core.layout import PublicFolder, TestbedFolder
from aarlab.testbeds.testbed import Testbed


def in_view(public: PublicFolder) -> tuple[Path, ...]:
    """What of a testbed's public folder is in that view; a name may have a `*`."""
    labels = public.probs("weak"), public.probs("critic")
    return (
        public.card,
        *labels,
        public.items("student"),
        public.zero_shot_logits("student"),
        public.layer("student", "*"),
    )


def code_mode_view(bed: Testbed) -> Testbed:
    """The view of a testbed for code mode: hard links in a folder beside the testbed's, made once.
    Its only split is `student`.

    Raises:
        Misconfigured: a file of the testbed is missing.
    """
    made = Testbed(TestbedFolder(bed.folder).blind, from_cache=True)
    if made.folder.exists():
        return made
    with folder_whole(made.folder) as partial:
        partial.chmod(0o755)
        view, public = TestbedFolder(partial), PublicFolder(bed.public)
        PublicFolder(view.public).zero_shot_logits("student").parent.mkdir(parents=True)
        view.private.mkdir(mode=0o700)
        for path in (*in_view(public), *([public.strong] if bed.preset else [])):
            pattern = str(path.relative_to(bed.public))
            found = sorted(bed.public.glob(pattern))
            if not found:
                raise Misconfigured(
                    f"{bed.public} has no file {pattern}. Delete the testbed's folder; the next "
                    "run sets it up again."
                )
            for path in found:
                os.link(path, view.public / path.relative_to(bed.public))
        view.ready.write_text(json.dumps({"blind": bed.fingerprint_for("student")}))
    return made
