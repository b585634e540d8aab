"""What an installation rests on: the locks fit pyproject.toml and can be used anywhere."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.structure import ROOT

LOCKS = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "requirements").glob("*.lock")}
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

REQUIREMENT = re.compile(r"^([a-z0-9-]+)==(\S+)((?:.*\\\n)*.*)", re.MULTILINE)


def pinned(lock: str) -> dict[str, str]:
    return {name: version for name, version, _ in REQUIREMENT.findall(LOCKS[lock])}


def wanted() -> dict[str, list[str]]:
    """What each lock must hold, as pyproject.toml says."""
    runtime = PROJECT["project"]["dependencies"]
    extras = PROJECT["project"]["optional-dependencies"]
    return {
        "build": PROJECT["dependency-groups"]["build"],
        "runtime": runtime,
        "dev": runtime + extras["dev"],
        "bench": runtime + extras["dev"] + extras["bench"],
    }


@pytest.mark.parametrize("lock", ["build", "runtime", "dev", "bench"])
def test_lock_holds_what_the_project_needs(lock: str) -> None:
    """Everything pyproject.toml asks for is pinned; after a change there, `tools/lock` does it."""
    names = {re.split(r"[\[<>=]", requirement)[0] for requirement in wanted()[lock]}
    assert names <= pinned(lock).keys()


@pytest.mark.parametrize("lock", ["build", "runtime", "dev", "bench"])
def test_every_file_is_known_by_its_hash(lock: str) -> None:
    """No line without a hash, and no address of a package index."""
    assert all("--hash=sha256:" in rest for _, _, rest in REQUIREMENT.findall(LOCKS[lock]))
    assert "://" not in LOCKS[lock]
    assert "--index" not in LOCKS[lock]


def test_tests_run_on_what_users_run() -> None:
    """dev.lock is runtime.lock and more, in the same versions; bench.lock is more again."""
    assert pinned("runtime").items() <= pinned("dev").items() <= pinned("bench").items()


@pytest.mark.parametrize("tool", ["install", "uninstall"])
def test_no_prefix_with_spaces(tool: str, tmp_path: Path) -> None:
    """Units and the list of what was installed hold it as it is; half of it would be another directory, which
    uninstalling removed."""
    (tmp_path / "my").mkdir()
    listed = tmp_path / "my dir/lib/blobfs/installed"
    listed.parent.mkdir(parents=True)
    listed.write_text(f"file {tmp_path}/my dir/bin/blobfs\n")
    command = [f"tools/{tool}", "--prefix", f"{tmp_path}/my dir", "--root", f"{tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "my dir" in done.stderr or "no spaces" in done.stderr
    assert (tmp_path / "my").is_dir()
