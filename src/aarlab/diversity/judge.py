"""A pinned language model as a second opinion on families, where the operator has configured one.

A judgement names the model and the hash of the prompt file that made it, and is kept by the hash of
all that went into it: the same idea is never asked about twice, and another model's or prompt's
answers never mix with it.
"""

import hashlib
from pathlib import Path

from pydantic import ValidationError

from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.files import write_whole
from aarlab.core.records import Family, Record
from aarlab.diversity.language_model import LanguageModel

PROMPT = Path(__file__).with_name("judge.md")
MAX_CHARS = 12_000  # of an idea that are shown


class Judgement(Record):
    """What the model said, and which model and prompt it was."""

    idea: str  # SHA-256 of what was shown
    family: Family
    model: str
    prompt: str  # SHA-256 of the prompt file


class Judge:
    """Asks the model about ideas that it has not judged yet; judgements are files in `folder`."""

    def __init__(self, model: LanguageModel, folder: Path) -> None:
        self._model, self._folder, self.name = model, folder, model.name
        self._prompt = PROMPT.read_text()
        self.version = hashlib.sha256(self._prompt.encode()).hexdigest()

    def judge(self, idea: str) -> Judgement:
        """The family of an idea, given as text and code.

        Raises:
            Misconfigured: see `LanguageModel.ask`; or a kept judgement is damaged.
            Transient: see there; or the model named no family.
        """
        shown = idea[:MAX_CHARS].replace("</idea>", "< /idea>")
        digest = hashlib.sha256(shown.encode()).hexdigest()
        key = hashlib.sha256(f"{self._model.name}\n{self.version}\n{digest}".encode()).hexdigest()
        path = self._folder / f"{key}.json"
        if path.exists():
            return _read(path)
        said = self._model.ask(self._prompt.replace("{idea}", shown)).strip().strip(".").casefold()
        if said not in set(Family):
            raise Transient(
                f"{self._model.name} answered {said[:80]!r}, which is not a family. Try again, or "
                "do not use the judge."
            )
        made = Judgement(
            idea=digest, family=Family(said), model=self._model.name, prompt=self.version
        )
        write_whole(path, made.model_dump_json())
        return made


def _read(path: Path) -> Judgement:
    try:
        return Judgement.model_validate_json(path.read_text())
    except ValidationError as error:
        raise Misconfigured(
            f"The cached judgement {path} is damaged. Delete it; the model will be asked again."
        ) from error
