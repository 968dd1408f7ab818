"""`aarlab.connect(address, token)`: a running lab, as a program submits to it."""

import inspect
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aarlab.core.errors import InvalidSubmission
from aarlab.core.layout import PublicFolder
from aarlab.core.operation_records import IN_FOLDER
from aarlab.core.records import Receipt
from aarlab.core.strict_json import read_json
from aarlab.researchers.code_files import METHOD, read_code, write_code
from aarlab.researchers.code_run import RUN_TIMEOUT_S, receipt_of
from aarlab.researchers.lab_client import LabAt

PATIENCE_S = 60.0  # for a lab that is being started again
FILE = f"Write it into a file of its own ({METHOD}), and import it from there"


class ConnectedLab(LabAt):
    """A lab that one submits to. `call("get_problem")` and the like are the lab's operations."""

    def submit(
        self,
        run: Callable[..., Any] | str | Path,
        *,
        family: str,
        data: str | Path | None = None,
        timeout_s: float = RUN_TIMEOUT_S,
    ) -> Receipt:
        """Commit the code of `run(task, seed)` (the whole file that defines it), or a file or a
        folder of code; run it on the seeds that are issued for that code; submit its answers. All
        researchers can read what is committed.

        `data`: the problem's public folder, on which it is run here, each time in a process of its
        own, for at most `timeout_s` seconds. None: the lab runs it (code mode).

        Raises:
            InvalidSubmission: it has no code that can be committed, `data` is no public folder, it
                failed, or it was refused.
            Unauthorised: the token is no researcher's.
            Transient: the lab did not answer, or the machine ended the run. Try again.
        """
        files = code_of(run)
        if data is not None:
            _require_public(Path(data))
        code = self.insist("commit_code", PATIENCE_S, files=files, family=str(family))
        code |= {"family": str(family)}
        about = {"patience_s": PATIENCE_S, "timeout_s": timeout_s}
        if data is None:
            return _read(receipt_of(self, code, None, "", **about))
        folder = Path(tempfile.mkdtemp(prefix="aarlab-"))
        try:
            write_code(files, folder)
            return _read(receipt_of(self, code, folder / METHOD, str(data), **about))
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def connect(address: str, token: str) -> ConnectedLab:
    """The lab at that address (as `aar evaluator` prints it), with a researcher's token (`aar token
    NAME`).

    Raises:
        InvalidSubmission: these are no address and no token. Nothing is asked of the lab yet.
    """
    return ConnectedLab(address, token)


def code_of(run: Callable[..., Any] | str | Path) -> Mapping[str, str]:
    """The files of a function's code, or of a path.

    Raises:
        InvalidSubmission: see `ConnectedLab.submit`; the message says what to do.
    """
    if isinstance(run, str | Path):
        return read_code(Path(run).expanduser())
    name = getattr(run, "__qualname__", repr(run))
    try:
        file = Path(inspect.getsourcefile(run) or "")
    except TypeError:
        file = Path()
    if getattr(run, "__module__", None) == "__main__" or not file.is_file():
        raise InvalidSubmission(
            f"{name[:80]} is defined where it is submitted: in a shell, a notebook or the program "
            f"itself, whose text is not the method alone. {FILE}."
        )
    if name != "run":
        raise InvalidSubmission(
            f"The evaluator runs the function `run` of the file, and yours is {name[:80]}. {FILE} "
            "under the name `run`."
        )
    return read_code(file)


def _require_public(data: Path) -> None:
    card = PublicFolder(data).card
    if not card.is_file() or read_json(card).get("kind") == IN_FOLDER:
        raise InvalidSubmission(
            f"'{data}' is no public folder of a problem with a teacher and a student. Give "
            "AAR_HOME/problems/NAME/public, where `aar demo`, `aar run` or `aarlab.task` set it "
            "up; or no data, where the lab runs the code."
        )


def _read(receipt: Mapping[str, Any]) -> Receipt:
    return Receipt.model_validate_json(json.dumps(receipt))
