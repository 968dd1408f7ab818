"""Who made a result: each worker signs what it sends with a key that it makes when it joins."""

import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


def new_key() -> tuple[Ed25519PrivateKey, str]:
    """A key, and its public half in hexadecimal digits."""
    made = Ed25519PrivateKey.generate()
    return made, public_of(made)


def public_of(key: Ed25519PrivateKey) -> str:
    """Its public half."""
    return key.public_key().public_bytes_raw().hex()


def signed(key: Ed25519PrivateKey, job: str, body: bytes) -> str:
    """A signature of a job's end."""
    return key.sign(_meant(job, body)).hex()


def is_by(public: str, job: str, body: bytes, signature: str) -> bool:
    """Whether the holder of that key signed the end."""
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        key.verify(bytes.fromhex(signature), _meant(job, body))
    except (ValueError, InvalidSignature):
        return False
    return True


def _meant(job: str, body: bytes) -> bytes:
    return f"the end of {job} is {hashlib.sha256(body).hexdigest()}".encode()
