"""Signed records: canonical JSON under an Ed25519 signature (RFC 8032), so that a record can be
believed away from here."""

import json
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from aarlab.core.errors import Misconfigured
from aarlab.core.plain_text import read_text
from aarlab.core.strict_json import read_json

_RAW = serialization.Encoding.Raw, serialization.PublicFormat.Raw


def canonical(record: Any) -> bytes:
    """What is signed: JSON with sorted keys, no white space, no NaN."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


class Signer:
    """A campaign's key: `private` is created once, mode 0600; `public` holds 64 hexadecimal digits
    for whoever verifies."""

    def __init__(self, private: Path, public: Path) -> None:
        if not private.exists():
            made = Ed25519PrivateKey.generate().private_bytes_raw()
            private.touch(mode=0o600)
            private.write_bytes(made)
        data = private.read_bytes()
        if len(data) != 32:
            raise Misconfigured(
                f"{private} is damaged: records are signed with it. Restore it, or begin a new "
                "campaign."
            )
        self._key = Ed25519PrivateKey.from_private_bytes(data)
        self.public = self._key.public_key().public_bytes(*_RAW).hex()
        public.parent.mkdir(parents=True, exist_ok=True)
        public.write_text(self.public + "\n")

    def sign(self, record: dict[str, Any]) -> dict[str, Any]:
        """{"record", "signature", "public_key"}."""
        return {
            "record": record,
            "signature": self._key.sign(canonical(record)).hex(),
            "public_key": self.public,
        }


def verify_record(path: Path, public_key: Path | str) -> dict[str, Any]:
    """The record in a signed file, once its signature is checked against a key that *you* trust (a
    file or its digits).

    Raises:
        Misconfigured: the file is no signed record, or the signature does not fit the record or the
            key.
    """
    digits = read_text(public_key) if isinstance(public_key, Path) else public_key
    try:
        signed = read_json(path)
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(digits.strip()))
        key.verify(bytes.fromhex(signed["signature"]), canonical(signed["record"]))
    except (OSError, ValueError, KeyError, TypeError, InvalidSignature) as error:
        raise Misconfigured(
            f"{path} is not what was signed with that key ({type(error).__name__}). Do not "
            "believe it."
        ) from error
    return signed["record"]
