"""Write the files that commands put under --out."""

from pathlib import Path

from aarlab.core.errors import Misconfigured


def write(path: Path, text: str) -> None:
    """Write a file; create its folder.

    Raises:
        Misconfigured: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        raise Misconfigured(
            f"{path} cannot be written ({error.strerror}). Give another --out."
        ) from error
