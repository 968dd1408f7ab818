"""What commands write under --out."""

from pathlib import Path

from aarlab.core.errors import Misconfigured


def write(path: Path, text: str) -> None:
    """Write a file, its folder included.

    Raises:
        Misconfigured: it cannot be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        raise Misconfigured(f"{path} cannot be written ({error.strerror}). Choose another --out.") from error
