"""Who has a campaign's evaluator: one process at a time."""

from pathlib import Path

from aarlab.core.errors import Misconfigured
from aarlab.core.hold import Hold
from aarlab.core.layout import CampaignFolder


def hold_server(campaign: Path, *, wait_s: float = 0.0) -> Hold:
    """Have a campaign's evaluator to oneself.

    Raises:
        Misconfigured: another process has it for longer than `wait_s`.
    """

    def busy(holder: str) -> str:
        words = (
            f"The evaluator of the campaign '{campaign.name}' ({campaign}) runs already, as "
            f"process {holder}."
        )
        return (
            f"{words} Use that one (server/address.json says where it is), or stop it or the `aar "
            "run` that started it."
        )

    return Hold(CampaignFolder(campaign).server.lock, busy, wait_s=wait_s)


def require_kept(hold: Hold, folder: Path) -> None:
    """Raises Misconfigured where the lock of this `server` folder was deleted."""
    if not hold.kept:
        raise Misconfigured(
            f"{folder / 'lock'} was deleted: another process may have this campaign by now. "
            "Nothing was recorded. Stop the evaluator and start it again."
        )
