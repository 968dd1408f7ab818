"""`python -m aarlab.researchers.claude_session --session UUID --first FILE --again FILE [--note TEXT] -- CLI ...`

Becomes Claude Code, beginning its session or going on with it. Which of the two is seen here, inside: a life that was killed
before it wrote anything has begun no session, and one that did must not begin it twice. Standard library alone.
"""

import argparse
import json
import os
from pathlib import Path


def begun(home: Path, session: str) -> bool:
    """Whether there is a session to go on with. A file of one without a single message is put aside: it could be neither
    resumed nor begun again."""
    for path in (home / ".claude" / "projects").glob(f"*/{session}.jsonl"):
        if _has_message(path):
            return True
        path.rename(path.with_suffix(".unusable"))
    return False


def _has_message(path: Path) -> bool:
    with path.open(errors="replace") as file:
        return any(_kind(line) in {"user", "assistant"} for line in file)


def _kind(line: str) -> object:
    try:
        entry = json.loads(line)
    except ValueError:  # the last line of a killed life
        return None
    return entry.get("type") if isinstance(entry, dict) else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--session", required=True)
    parser.add_argument("--first", type=Path, required=True, help="the prompt that begins the session")
    parser.add_argument("--again", type=Path, required=True, help="the prompt that goes on with it")
    parser.add_argument("--note", default="", help="what stands before the latter: how the life before ended")
    parser.add_argument("argv", nargs="+", help="the CLI and its options")
    a = parser.parse_args()
    if begun(Path.home(), a.session):
        words = ["--resume", a.session, "--", f"{a.note}\n\n{a.again.read_text()}".strip()]
    else:
        words = ["--session-id", a.session, "--", a.first.read_text()]
    os.execv(a.argv[0], [*a.argv, *words])


if __name__ == "__main__":
    main()
