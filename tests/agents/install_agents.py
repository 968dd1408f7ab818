"""`python -m tests.agents.install_agents FOLDER`: the agent CLIs of the presets, in the versions
that were tested, into a folder of their own: by npm and pip, and Claude's from the SDK's wheel."""

import subprocess
import sys
from pathlib import Path

from aarlab.researchers.claude_code import bundled_cli
from aarlab.researchers.command import TESTED


def main(folder: Path) -> None:
    others = [package for preset, package in TESTED.items() if preset != "claude"]
    wanted = {i: [p for p in others if p.installer == i] for i in ("npm", "pip")}
    npm = [f"{package.name}@{package.version}" for package in wanted["npm"]]
    pip = [f"{package.name}=={package.version}" for package in wanted["pip"]]
    npm_words = ["npm", "install", "--no-audit", "--no-fund", "--no-save", "--prefix", str(folder)]
    subprocess.run([*npm_words, *npm], check=True)
    if not (folder / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder / "python")], check=True)
    subprocess.run([str(folder / "python/bin/pip"), "install", "--quiet", *pip], check=True)
    claude = folder / "python/bin/claude"
    claude.unlink(missing_ok=True)
    claude.symlink_to(bundled_cli())


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
