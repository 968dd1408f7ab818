"""The walls hold, and each check of one is shown able to fail."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """import-linter on the package under `folder`, by the project's own contracts."""
    code = "import sys; sys.path.insert(0, 'src'); from importlinter.cli import lint_imports"
    code += "; sys.exit(lint_imports(no_cache=True))"
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "src", tmp_path / "src")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_walls_hold(copy):
    done = lint(copy)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("evaluation/grade.py", "import torch", "The judge knows neither models nor methods"),
        ("server/app.py", "import aarlab.methods.parts", "The judge knows neither models nor methods"),
        ("core/pgr.py", "import aarlab.evaluation.grade", "Core imports nothing of ours"),
        ("methods/parts.py", "import torch", "Only models import torch"),
        ("diversity/language_model.py", "import aarlab.methods.parts", "Diversity knows core alone"),
        ("gateway/app.py", "import aarlab.server.wire", "The gateway knows core alone"),
        ("researchers/search.py", "import aarlab.evaluation.evaluator", "Researchers reach the evaluator over MCP only"),
    ],
)
def test_each_wall_can_fail(copy, module, line, contract):
    path = copy / "src" / "aarlab" / module
    path.write_text(path.read_text() + f"\n{line}\n")
    done = lint(copy)
    assert done.returncode != 0
    assert f"{contract} BROKEN" in done.stdout


def test_only_settings_read_the_environment():
    readers = {
        str(p.relative_to(ROOT / "src" / "aarlab"))
        for p in (ROOT / "src").rglob("*.py")
        if "os.environ[" in (text := p.read_text()) or "os.getenv" in text or "environ.get" in text
    }
    assert readers == {"core/settings.py"}
