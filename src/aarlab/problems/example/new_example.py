"""A folder with which a campaign on items of one's own begins."""

import json
from pathlib import Path

from aarlab.core.errors import Misconfigured
from aarlab.core.files import write_whole
from aarlab.core.layout import ExampleFolder
from aarlab.core.plain_text import read_text
from aarlab.problems.example.sentences import sentences

ROWS = 2000
TEMPLATES = {  # with what the file's name ends instead of .txt
    "templates/README.txt": ".md",
    "templates/campaign.txt": ".yaml",
    "templates/preset.txt": ".yaml",
    "templates/method.txt": ".py",
}


def write_example(folder: Path) -> list[Path]:
    """Write the folder; returns its files.

    Raises:
        Misconfigured: something is there already.
    """
    if folder.is_dir() and (found := next(folder.iterdir(), None)):
        raise Misconfigured(
            f"{folder} is not empty: it has {found.name!a}. Name another folder, or empty this one."
        )
    if folder.exists() and not folder.is_dir():
        raise Misconfigured(f"{folder} is no folder. Name another one.")
    made = ExampleFolder(folder)
    rows = [json.dumps({"chosen": good, "rejected": bad}) for good, bad in sentences(ROWS)]
    sources = {Path(__file__).parent / name: ending for name, ending in TEMPLATES.items()}
    texts = {folder / f"{s.stem}{ending}": read_text(s) for s, ending in sources.items()}
    texts[made.rows] = "\n".join(rows) + "\n"
    for path, text in texts.items():
        write_whole(path, text)
    made.state.mkdir()
    return list(texts)
