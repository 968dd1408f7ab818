"""The seeds that a campaign issues: functions of a purpose, a snapshot and a secret."""

import hashlib
import hmac
import secrets
from functools import lru_cache
from pathlib import Path

from aarlab.core.errors import Misconfigured

SEEDS = 5
REMEMBERED = 1024  # purposes and snapshots


class IssuedSeeds:
    """Seeds follow from the code's hash and a secret file, which is made where there is none. So
    they are known only once the code is fixed, and the same code always gets the same ones.

    Raises:
        Misconfigured: the secret is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._secret = _secret(path)
        self._drawn = lru_cache(REMEMBERED)(self._draw)

    def of(self, purpose: str, snapshot: str) -> list[int]:
        """The seeds issued for a purpose and a snapshot."""
        return list(self._drawn(purpose, snapshot))

    def _draw(self, purpose: str, snapshot: str) -> tuple[int, ...]:
        def seed(number: int) -> int:
            message = f"{purpose}|{snapshot}|{number}".encode()
            digest = hmac.digest(self._secret, message, hashlib.sha256)
            return int.from_bytes(digest[:4], "big") >> 1

        return tuple(sorted(seed(number) for number in range(SEEDS)))


def _secret(path: Path) -> bytes:
    if not path.exists():
        path.touch(mode=0o600)
        path.write_bytes(secrets.token_bytes(32))
    data = path.read_bytes()
    if len(data) != 32:
        raise Misconfigured(
            f"{path} is damaged: the issued seeds depend on it. Restore it, or begin a new "
            "campaign."
        )
    return data
