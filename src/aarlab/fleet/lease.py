"""One supervisor a campaign: whoever holds the lock may start researchers. It ends with its
process, however that ends."""

from pathlib import Path

from aarlab.core.hold import Hold
from aarlab.core.layout import CampaignFolder


def lease(folder: Path) -> Hold:
    """Hold the campaign in `folder`.

    Raises:
        Misconfigured: another process holds it; its pid is in the message.
    """

    def busy(holder: str) -> str:
        words = f"The campaign '{folder.name}' is being run by process {holder}."
        return f"{words} Watch it with `aar watch {folder.name}`, or stop it first."

    return Hold(CampaignFolder(folder).lock, busy)
