"""Programs and how long they take. None is waited for without a limit, not even after it was killed.

A program that hangs in a mount may be beyond SIGKILL until the daemon is gone. So a program that
overstays is killed and left: whoever ends the daemon frees it.
"""

import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.structure import ROOT

SECONDS = 300.0
"""No program of a benchmark takes longer, unless it hangs."""

Word = str | Path


class Overdue(Exception):
    """A program did not end in time. `said` is what it printed until then."""

    said = ""


class Failed(Exception):
    """A program ended with an exit code that was not expected."""


@dataclass(frozen=True, slots=True)
class Ended:
    """One program, from its start to its end."""

    seconds: float
    code: int
    """Negative: the signal that ended it."""
    said: str
    """Its stdout and stderr, but for `discard`."""


def run(*command: Word, limit: float = SECONDS, discard: bool = False, may_fail: bool = False) -> Ended:
    """Runs it to its end; `discard` sends what it prints to /dev/null, as the shell would."""
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if discard else said,
            stderr=said,
            env=environment(),
        )
        try:
            wait(process, limit)
        except Overdue as overdue:
            overdue.said = _read(said)
            raise
        ended = Ended(time.perf_counter() - began, process.returncode, _read(said))
    if ended.code and not may_fail:
        raise Failed(f"{' '.join(map(str, command))}: exit code {ended.code}\n{ended.said}")
    return ended


def _read(said: IO[bytes]) -> str:
    said.seek(0)
    return said.read().decode("utf-8", "replace")


def wait(process: subprocess.Popen[bytes], limit: float = SECONDS) -> None:
    """Until it has ended. `Popen.wait` with a limit looks only every 50 ms, this at once."""
    if not has_ended(process, limit):
        process.kill()
        has_ended(process, 1.0)
        raise Overdue(f"{process.args!r} still ran after {limit:g} s")


def has_ended(process: subprocess.Popen[bytes], within: float) -> bool:
    if process.poll() is not None:
        return True
    descriptor = os.pidfd_open(process.pid)
    try:
        ready, _, _ = select.select([descriptor], [], [], within)
    finally:
        os.close(descriptor)
    return bool(ready) and process.wait() is not None


def python(module: str, *arguments: Word) -> list[Word]:
    """The command that runs one of our own programs, which import nothing heavy."""
    return [sys.executable, "-P", "-m", f"tools.benchmarks.{module}", *arguments]


def environment() -> Mapping[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C"}


def version_of(program: str, *arguments: str) -> str | None:
    """Its first line about itself; None if it is not installed."""
    if shutil.which(program) is None:
        return None
    return run(program, *arguments, limit=10, may_fail=True).said.partition("\n")[0]
