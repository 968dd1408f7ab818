"""Whether a campaign's ledger and snapshots can lie where its settings say: asked before anything
is set up, and by `aar doctor --cluster`."""

import re
from contextlib import closing

from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.printable import one_line
from aarlab.core.settings import lacking_s3_keys
from aarlab.evaluation.ledger.places import bucket, check_snapshots_url, database, shown
from aarlab.evaluation.ledger.storage import StorageFailed

PROBE = b"aar doctor"  # is left in the bucket: the bytes and their name are always the same
MOST_SAID = 300  # characters of what a client says


def require_database(url: str) -> None:
    """Raise where no ledger can lie in a PostgreSQL database.

    Raises:
        Misconfigured: it does not answer, refuses the login, was not prepared, or no longer forbids
            changes.
    """
    try:
        with closing(database(url, "doctor", read_only=True)) as found:
            if words := found.unsound():
                raise Misconfigured(f"It no longer forbids changes: {words}. Restore it.")
    except StorageFailed as error:
        raise Misconfigured(
            f"store: {shown(url)} does not answer ({_cause(error)}). Start PostgreSQL, or correct "
            "the URL."
        ) from error


def require_bucket(url: str) -> None:
    """Raise where no snapshot can be kept under s3://BUCKET/PREFIX.

    Raises:
        Misconfigured: there are no credentials for it, or it takes or gives back nothing.
    """
    check_snapshots_url(url)
    if lacking := lacking_s3_keys():
        raise Misconfigured(
            f"snapshots: {shown(url)} needs credentials: {' and '.join(lacking)} "
            f"{'is' if len(lacking) == 1 else 'are'} not set. Set AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY and AWS_REGION (AWS_ENDPOINT_URL for a server that is not "
            "Amazon's). Where the machine has a role that is asked for over the network, set "
            "AWS_METADATA_ENDPOINT=http://169.254.169.254."
        )
    store = bucket(url)
    try:
        store.get(store.put(PROBE))
    except Transient as error:
        raise Misconfigured(
            f"snapshots: {shown(url)} takes nothing ({_cause(error)}). Correct the bucket, the "
            "keys, AWS_REGION or AWS_ENDPOINT_URL, or start the server."
        ) from error


def _cause(error: Exception) -> str:
    """What the client said; where an S3 server answered, its code ("NoSuchBucket")."""
    said = str(error.__cause__ or error)
    code = re.search(r"<Code>(\w{1,100})</Code>", said)
    return code[1] if code else one_line(said.partition("Debug source")[0], MOST_SAID)
