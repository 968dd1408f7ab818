"""Who calls the lab, and with which role. A token itself is never kept: its SHA-256 stands for
it."""

import hashlib
from typing import NamedTuple

from aarlab.core.errors import Unauthorised
from aarlab.core.operation_records import Role

REFUSED = (
    "This token is missing, unknown or no longer valid. Send your own: 'Authorization: Bearer "
    "TOKEN'."
)


class Identity(NamedTuple):
    """A name and its role."""

    name: str
    role: Role


def token_hash(token: str) -> str:
    """The SHA-256 of a token, 64 hexadecimal digits."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


def hash_in(authorization: str | None) -> str:
    """The hash of the token in an Authorization header.

    Raises:
        Unauthorised: the header is missing or is no bearer token.
    """
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthorised(REFUSED)
    return token_hash(token)


def require_role(me: Identity, roles: tuple[Role, ...]) -> None:
    """Raise unless the caller has one of the roles.

    Raises:
        Unauthorised: it has none of them.
    """
    if me.role not in roles:
        words = f"This is for the role {' or '.join(roles)}; your token is a {me.role}'s."
        raise Unauthorised(f"{words} Ask the operator for another.", forbidden=True)
