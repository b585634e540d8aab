"""Running programs on a mount, with a limit to the time they take."""

import os
import pty
import subprocess
from collections.abc import Mapping
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


def on_terminal(*command: str | Path, env: Mapping[str, str] | None = None) -> tuple[str, str]:
    """What a program shows on a terminal, and its stdout, which is not one. It succeeds."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=theirs) as program:
        os.close(theirs)
        assert program.stdout is not None
        out = program.stdout.read().decode()
        assert program.wait(SECONDS) == 0
    shown = b""
    try:
        while more := os.read(ours, 1 << 16):
            shown += more
    except OSError:  # EIO: nobody holds the other end any more
        os.close(ours)
    return shown.decode(), out


def sync_directory(path: Path) -> None:
    """fsync on a directory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
