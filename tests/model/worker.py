"""A process that makes the system calls of one node's programs.

It stands between the test and the mount, so that a call that hangs hangs here: `Worker` gives each call a
limit, kills the process after it, and says so with `Hung`.
"""

import os
import pickle
import select
import struct
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

from tests.structure import ROOT

CALL_SECONDS = 25.0
"""No call may take longer. The longest waits of the nodes under test end far earlier."""
DEATH_SECONDS = 10.0
"""Within which a killed process has to be gone, in whatever call it was."""
_LENGTH = struct.Struct("<I")


class Hung(AssertionError):
    """A call that did not end within its limit, or could not even be killed."""


def send(stream: IO[bytes], message: object) -> None:
    raw = pickle.dumps(message)
    stream.write(_LENGTH.pack(len(raw)) + raw)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """None at the end of the stream."""
    head = stream.read(_LENGTH.size)
    return pickle.loads(stream.read(_LENGTH.unpack(head)[0])) if len(head) == _LENGTH.size else None


class Worker:
    """The process of one node. Killed and started anew, it has no open descriptors left."""

    def __init__(self, mountpoint: Path) -> None:
        self._mountpoint = mountpoint
        self._process: subprocess.Popen[bytes] | None = None

    def call(self, verb: str, *arguments: object) -> object:
        """What the call returns; raises `OSError` as the call did."""
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        send(process.stdin, (verb, arguments))
        if not select.select([process.stdout], [], [], CALL_SECONDS)[0]:
            where = self._where(process.pid)
            self.kill()
            raise Hung(f"{verb} {arguments} did not end within {CALL_SECONDS:g} s; it was in {where}")
        answer = receive(process.stdout)
        if answer is None:
            raise AssertionError(f"{verb} {arguments} ended its process: {process.wait(DEATH_SECONDS)}")
        is_done, value = answer
        if not is_done:
            raise OSError(value, os.strerror(value))
        return value

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.model.calls", self._mountpoint],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return self._process

    @staticmethod
    def _where(pid: int) -> str:
        return " ".join(Path(f"/proc/{pid}/{name}").read_text() for name in ("wchan", "syscall"))

    def kill(self) -> None:
        """Its descriptors are closed by this, as of any program that is killed."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.kill()
        try:
            process.communicate(timeout=DEATH_SECONDS)
        except subprocess.TimeoutExpired:
            raise Hung(f"a process cannot be killed; it is in {self._where(process.pid)}") from None
