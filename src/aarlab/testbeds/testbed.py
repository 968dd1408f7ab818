"""A problem that is set up: where its folders are, and what set-up recorded of it."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aarlab.core.errors import Misconfigured
from aarlab.core.layout import PublicFolder, TestbedFolder
from aarlab.core.own_code import Build, CodeRecord
from aarlab.core.records import SplitName


@dataclass(frozen=True)
class Testbed(TestbedFolder):
    """A problem that is set up: where its folders are, and whether they were there already."""

    from_cache: bool

    @property
    def folder(self) -> Path:
        return self.root

    @property
    def preset(self) -> str | None:
        """The name of the preset whose student is fine-tuned here; None where it is frozen."""
        strong = PublicFolder(self.public).strong
        return json.loads(strong.read_text())["preset"] if strong.exists() else None

    @property
    def ablation(self) -> str | None:
        """What was broken in this testbed on purpose; None in all others."""
        return self.facts.get("ablation")

    @property
    def dealt_by(self) -> int:
        """The secret by which an ablated testbed deals texts to other items."""
        return self.facts["dealt_by"]

    @property
    def whole(self) -> bool:
        """Whether all of it is set up."""
        return self.ready.exists()

    @property
    def begun(self) -> bool:
        """Whether at least all but `final` is set up: researchers can work on it."""
        return self.whole or self.part_ready.exists()

    @property
    def facts(self) -> dict[str, Any]:
        """What set-up recorded when it was done, as far as it is."""
        return json.loads((self.ready if self.whole else self.part_ready).read_text())

    @property
    def fingerprint(self) -> str:
        """What the states and items are and which code made them, as a hash: part of the key of
        everything that is computed from all of them.

        Raises:
            Misconfigured: `final` is not set up yet.
        """
        self.require_whole()
        return _hash_of(self.ready)

    def fingerprint_for(self, split: SplitName) -> str:
        """The same for what is computed from the `student` split and this one: what does not need
        `final` has one key before `final` is set up and after.

        Raises:
            Misconfigured: `final` is asked for and is not set up yet.
        """
        if split == "final" or not self.part_ready.exists():
            return self.fingerprint
        return _hash_of(self.part_ready)

    def require_whole(self) -> None:
        """Check that `final` is set up.

        Raises:
            Misconfigured: it is not.
        """
        if not self.whole:
            raise Misconfigured(
                f"The `final` items of {self.folder.name} are not set up yet. `aar run --resume` "
                "or `aar report` with a campaign on it sets them up."
            )

    @property
    def code(self) -> CodeRecord | None:
        """The code that made it; None where an older version did, which did not record its code."""
        found = self.facts.get("code")
        return None if found is None else CodeRecord.model_validate(found)

    @property
    def build(self) -> Build | None:
        """Which aarlab made it; None as above."""
        path = self.built_by
        return Build.model_validate_json(path.read_text()) if path.exists() else None

    def require_publishable(self) -> None:
        """Check that researchers may see this problem.

        Raises:
            Misconfigured: the problem is reserved for transfer.
        """
        card = json.loads(PublicFolder(self.public).card.read_text())
        if card["transfer_only"]:
            raise Misconfigured(
                f"The problem '{card['name']}' is reserved for transfer; researchers may not see "
                "it. Choose another problem for the campaign."
            )


def _hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:24]
