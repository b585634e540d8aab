"""The linters are tests: what they find fails the suite. `tools/check --fix` corrects what it can."""

import subprocess
import sys

import pytest

from tests.structure import ROOT

SCRIPTS = sorted(
    str(path.relative_to(ROOT))
    for path in [*(ROOT / "tools").iterdir(), ROOT / ".ci" / "run"]
    if path.is_file() and "bash" in path.read_text(encoding="utf-8").partition("\n\n")[0]
)


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "command",
    [
        pytest.param([sys.executable, "-m", "ruff", "format", "--check", "."], id="format"),
        pytest.param([sys.executable, "-m", "ruff", "check", "."], id="ruff"),
        pytest.param([sys.executable, "-m", "mypy"], id="mypy"),
        pytest.param(["shellcheck", "--external-sources", *SCRIPTS], id="shellcheck"),
    ],
)
def test_linter_is_content(command: list[str]) -> None:
    """The linter finds nothing in the checkout."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=390, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(command)}\n{done.stdout}{done.stderr}", pytrace=False)


def test_all_scripts_are_looked_at() -> None:
    """The list of shell scripts is not empty by mistake."""
    assert {"tools/test", "tools/quickstart", "tools/lib.sh", ".ci/run"} <= set(SCRIPTS)
