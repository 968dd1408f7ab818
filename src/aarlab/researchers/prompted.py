"""`python -m aarlab.researchers.prompted --prompt FILE [--note TEXT] [--home FOLDER] -- ARGV`:
starts ARGV (exec) with `{prompt}` replaced by the note and the file's text.

What is in FOLDER is copied to the home before. All of it is read inside the sandbox. Uses the
standard library alone.
"""

import argparse
import os
import shutil
from pathlib import Path

PROMPT = "{prompt}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompt", type=Path, required=True)
    parser.add_argument(
        "--note", default="", help="text before the prompt: why the last process ended"
    )
    parser.add_argument("--home", type=Path, help="a folder that is copied to the home")
    parser.add_argument("argv", nargs="+")
    a = parser.parse_args()
    if a.home:
        shutil.copytree(a.home, Path.home(), dirs_exist_ok=True)
    text = f"{a.note}\n\n{a.prompt.read_text()}".strip()
    os.execvp(a.argv[0], [word.replace(PROMPT, text) for word in a.argv])


if __name__ == "__main__":
    main()
