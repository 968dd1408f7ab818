"""`python -m aarlab.researchers.prompted --prompt FILE [--note TEXT] -- ARGV`: becomes ARGV, in which `{prompt}` is the file's
text after the note. So a prompt is read inside, where it lies. Standard library alone."""

import argparse
import os
from pathlib import Path

PROMPT = "{prompt}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompt", type=Path, required=True)
    parser.add_argument("--note", default="", help="what stands before it: how the life before ended")
    parser.add_argument("argv", nargs="+")
    a = parser.parse_args()
    text = f"{a.note}\n\n{a.prompt.read_text()}".strip()
    os.execvp(a.argv[0], [word.replace(PROMPT, text) for word in a.argv])


if __name__ == "__main__":
    main()
