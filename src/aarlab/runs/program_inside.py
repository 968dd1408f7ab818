"""`python -m aarlab.runs.program_inside --program FILE --socket SOCKET`: a submitted program, in
its sandbox: JSON lines in, `answer(request)`, JSON lines out. The first line out says that its file
is loaded, or why not."""

import argparse
import json
import socket
from pathlib import Path
from typing import Any

from aarlab.runs.grade_inside import WORDS, load, plain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", type=Path, required=True, help="a file with answer(request)")
    parser.add_argument("--socket", type=Path, required=True, help="where requests come from")
    a = parser.parse_args()
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(str(a.socket))
    file = connection.makefile("rwb")

    def say(**words: Any) -> None:
        file.write(json.dumps(words, default=plain).encode() + b"\n")
        file.flush()

    try:
        answer = load(a.program).answer
    except Exception as error:  # noqa: BLE001 - it is passed on as the program's
        say(failed=f"{type(error).__name__}: {error}"[:WORDS])
        return
    say(answer=None)
    for line in file:
        try:
            say(answer=answer(json.loads(line)))
        except Exception as error:  # noqa: BLE001 - one call has failed; the next may not
            say(failed=f"{type(error).__name__}: {error}"[:WORDS])


if __name__ == "__main__":
    main()
