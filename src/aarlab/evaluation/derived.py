"""What an evaluator has derived from its ledger and the meter, kept beside them, so that a start
need not derive all of it again.

It is believed where it is this campaign's (a MAC with the campaign's secret), where the same code
made it from the same data, and where the ledger's rows, as far as it goes, are on disk what they
were: SHA-256 of all that they hold, read again at each start. Otherwise, and where there is none,
everything is derived again. What was recorded later is read as ever. So nothing rests on this
file but time. Of the meter it says only which answers agreed with the ledger (see `agreement`):
what was released is added up from its rows at each start.

Who only looks on does not read it: whoever made a campaign's folder has its secret. Nothing is run
that the file names: it can make what the evaluator keeps, and no other object.
"""

import hashlib
import hmac
import io
import logging
import pickle
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from aarlab.core.files import OWNER_ONLY, open_whole
from aarlab.core.layout import ServerFolder
from aarlab.core.own_code import whole_code
from aarlab.core.records import Record
from aarlab.evaluation.detectors import DETECTORS, Context, Detector, Watch
from aarlab.evaluation.detectors.chains import Recent
from aarlab.evaluation.ledger.ledger import Read
from aarlab.evaluation.ledger.repeated_submissions import RepeatedSubmissions
from aarlab.evaluation.scoring.diagnostics import Diagnosis, UnitDiagnosis
from aarlab.evaluation.scoring.meter import Reached
from aarlab.evaluation.scoring.units import Units

# what else than records a kept object may be made of: data of Python's and numpy's
_PLAIN = {
    "builtins": {"bytearray", "complex", "frozenset", "set"},
    "array": {"_array_reconstructor", "array"},
    "collections": {"Counter", "OrderedDict", "defaultdict", "deque"},
    "numpy": {"dtype", "ndarray"},
    "numpy._core.numeric": {"_frombuffer"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
}
_OURS = ("aarlab.core.", "aarlab.evaluation.")
_KEPT = (BaseModel, Enum, Detector, Watch, Recent, Diagnosis)  # and dataclasses
# what a file that another version of a library wrote may end with
_UNREADABLE = (
    pickle.UnpicklingError,
    *(AttributeError, EOFError, ImportError, IndexError, KeyError, TypeError, ValueError),
)
log = logging.getLogger("aarlab.evaluation")


class DerivedHead(Record):
    """The first line of the file: how far it goes, and what it was made from and by."""

    made_by: str  # see `maker`
    entries: int
    ledger: str  # digest of the ledger's first `entries` rows
    answers: int
    meter: str  # digest of the meter's first `answers` answers
    content: str  # SHA-256 of the rest of the file


@dataclass(frozen=True)
class Derived:
    """All that is kept. `views`: by name, what each holds."""

    ledger: Read
    asked: RepeatedSubmissions
    diagnosis: Diagnosis | UnitDiagnosis
    watch: Watch
    views: Mapping[str, dict[str, Any]]


def maker(context: Context, units: Units) -> str:
    """Digest of this code, of all detectors that are registered, of what they know, and of how the
    labels count. To be called when an evaluator begins: a file may be changed while it runs."""
    known = (context.ids, context.texts, sorted(context.others.items()), units)
    made = hashlib.sha256(whole_code().digest.encode())
    made.update(repr(known).encode(errors="surrogatepass"))
    for some_M in (context.naive_M, context.judged_M):
        made.update(b"-" if some_M is None else some_M.tobytes())
    made.update("".join(_sources()).encode())
    return made.hexdigest()


def _sources() -> Iterable[str]:
    """Of each detector, its name and a digest of its module's file."""
    for name in DETECTORS:
        module = sys.modules.get(getattr(DETECTORS[name].make, "__module__", ""))
        path = getattr(module, "__file__", None)
        yield name
        yield "" if path is None else hashlib.sha256(Path(path).read_bytes()).hexdigest()


def head_of(server: Path) -> DerivedHead | None:
    """Of the file in a campaign's `server` folder; None where there is none that is whole and that
    campaign's."""
    found = _opened(server)
    return found and found[0]


def load(server: Path, context: Context, made_by: str) -> Derived | None:
    """What was kept, without a look at the stores; None where there is none of that `maker`, or it
    cannot be read."""
    found = _opened(server)
    if found is None or found[0].made_by != made_by:
        return None
    try:
        made = _Unpickler(io.BytesIO(found[1]), context).load()
    except _UNREADABLE as error:
        path = ServerFolder(server).derived
        log.warning("A start reads the whole ledger again: %s cannot be read (%s).", path, error)
        return None
    return made if isinstance(made, Derived) else None


def write(server: Path, made_by: str, derived: bytes, ledger: Read, meter: Reached) -> None:
    """Keep what `packed` made.

    Raises:
        OSError: it cannot be written; what was there is still there.
    """
    head = DerivedHead(
        made_by=made_by,
        entries=ledger.size,
        ledger=ledger.digest,
        answers=meter.answers,
        meter=meter.digest,
        content=hashlib.sha256(derived).hexdigest(),
    )
    line = head.model_dump_json().encode()
    mac = _mac(ServerFolder(server).secret.read_bytes(), line)
    path = ServerFolder(server).derived
    for left in path.parent.glob(f".{path.name}.*.partial"):  # of a process that was killed
        left.unlink(missing_ok=True)
    with open_whole(path, mode=OWNER_ONLY) as file:
        file.write(b"\n".join((line, mac, b"")))
        file.write(derived)


def packed(derived: Derived, context: Context) -> bytes | None:
    """The bytes of it, without the context, which every process makes for itself; None, and a line
    in the log, where a detector holds what cannot be kept."""
    file = io.BytesIO()
    try:
        _Pickler(file, context).dump(derived)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        log.warning(
            "A start reads the whole ledger again, since a detector's state cannot be kept (%s). "
            "Let detectors hold plain data.",
            error,
        )
        return None
    return file.getvalue()


def _opened(server: Path) -> tuple[DerivedHead, bytes] | None:
    path, secret = ServerFolder(server).derived, ServerFolder(server).secret
    try:
        with path.open("rb") as file:
            line, mac = file.readline().removesuffix(b"\n"), file.readline().removesuffix(b"\n")
            if not hmac.compare_digest(mac, _mac(secret.read_bytes(), line)):
                return None
            head, content = DerivedHead.model_validate_json(line), file.read()  # tens of MB, once
    except (OSError, ValueError, ValidationError):
        return None
    return (head, content) if hashlib.sha256(content).hexdigest() == head.content else None


def _mac(secret: bytes, line: bytes) -> bytes:
    return hmac.digest(secret, b"derived|" + line, hashlib.sha256).hex().encode()


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, context: Context) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._context = context

    def persistent_id(self, obj: Any) -> str | None:
        return "context" if obj is self._context else None


class _Unpickler(pickle.Unpickler):
    """Makes records, detectors and plain data; a class of somebody's own only where it stands in a
    detector's file."""

    def __init__(self, file: io.BytesIO, context: Context) -> None:
        super().__init__(file)
        self._context = context
        made = (DETECTORS[name].make for name in DETECTORS)
        modules = {getattr(one, "__module__", "aarlab.") for one in made}
        self._theirs = {module for module in modules if not module.startswith("aarlab.")}

    def persistent_load(self, pid: Any) -> Context:
        return self._context

    def find_class(self, module: str, name: str) -> Any:
        """The class of that name, where it may be made."""
        found = getattr(sys.modules.get(module), name, None)
        if name in _PLAIN.get(module, ()):
            return super().find_class(module, name)
        if isinstance(found, type) and found.__module__ == module:
            ours = module.startswith(_OURS) and (is_dataclass(found) or issubclass(found, _KEPT))
            if ours or module in self._theirs:
                return found
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is nothing that is kept")
