"""The process that does the operations, seen from the one that counts."""

import json
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tools.benchmarks.running import Failed, Overdue, environment

LIMIT = 120.0
"""Seconds: no operation with all its files takes so long, unless it hangs."""


@dataclass(frozen=True, slots=True)
class Answer:
    sleeps: int
    seconds: list[float]


class Caller:
    """One `tools.counting.caller` in a mount."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def call(self, verb: str, paths: Sequence[str]) -> Answer:
        """Raises `Overdue` and `Failed`; there is no second call after that."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([verb, *paths]).encode() + b"\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], LIMIT)
        if not ready:
            raise Overdue(f"{verb} {paths[0]} still runs after {LIMIT:g} s")
        line = self._process.stdout.readline()
        if not line:
            raise Failed(f"{verb} {paths[0]} ...: it failed, see above")
        return Answer(**json.loads(line))


@contextmanager
def caller_in(mount: Path, source: Path) -> Iterator[Caller]:
    """It is gone afterwards, or killed and left to whoever ends the daemon that it hangs in."""
    command = [sys.executable, "-P", "-m", "tools.counting.caller", str(mount), str(source)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment())
    try:
        yield Caller(process)
    finally:
        process.kill()
        for end in (process.stdin, process.stdout):
            assert end is not None
            end.close()
        with suppress(subprocess.TimeoutExpired):  # it may be beyond SIGKILL until its mount is gone
            process.wait(5)
