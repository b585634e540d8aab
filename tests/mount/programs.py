"""Running programs on a mount, with a limit to the time they take."""

import os
import subprocess
from pathlib import Path

SECONDS = 20
"""No program of these tests takes longer, unless it hangs."""


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """What a program says on stdout; it must end well."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def bash(script: str, cwd: Path) -> str:
    """The same for a script, which ends at its first failure."""
    return run("bash", "-euo", "pipefail", "-c", script, cwd=cwd)


def bash_fails(script: str, cwd: Path) -> str:
    """What a script that must fail says on stderr."""
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode != 0, f"{script} did not fail:\n{done.stdout}{done.stderr}"
    return done.stderr


def sync_directory(path: Path) -> None:
    """fsync on a directory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
