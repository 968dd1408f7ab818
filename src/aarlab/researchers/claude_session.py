"""`python -m aarlab.researchers.claude_session --session UUID --first FILE --again FILE [--note
TEXT] -- CLI ...`

Starts Claude Code (exec), which begins its session or resumes it. This is decided here, inside the
sandbox: an incarnation that was killed before it wrote a message has begun no session, and a
session must not be begun twice. Uses the standard library alone.
"""

import argparse
import json
import os
from pathlib import Path


def begun(home: Path, session: str) -> bool:
    """True if there is a session to resume. A session file without a message is moved away,
    because it can neither be resumed nor begun again."""
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
    except ValueError:  # the last line of a killed incarnation
        return None
    return entry.get("type") if isinstance(entry, dict) else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--session", required=True)
    parser.add_argument(
        "--first", type=Path, required=True, help="file of the prompt for a new session"
    )
    parser.add_argument(
        "--again", type=Path, required=True, help="file of the prompt for a resumed session"
    )
    parser.add_argument(
        "--note", default="", help="text before the prompt: why the last process ended"
    )
    parser.add_argument("argv", nargs="+", help="the CLI and its options")
    a = parser.parse_args()
    if begun(Path.home(), a.session):
        words = ["--resume", a.session, "--", f"{a.note}\n\n{a.again.read_text()}".strip()]
    else:
        words = ["--session-id", a.session, "--", f"{a.note}\n\n{a.first.read_text()}".strip()]
    os.execv(a.argv[0], [*a.argv, *words])


if __name__ == "__main__":
    main()
