"""Reader processes, one for each thread of the campaign: given orders, watched, killed, replaced."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from select import select

from blobfs.model import CHUNK_SIZE
from tests.faults import reader
from tests.faults.judging import SLACK, Result, deadline
from tests.faults.orders import How, Order

DEATH_SECONDS = 5.0
"""Within which a reader that got SIGKILL is gone, whatever it waits for."""


class Reader:
    """One reader process on one mount; another one after each that was killed."""

    def __init__(self, mountpoint: Path, blobs: Path, scratch: Path) -> None:
        self._command = [
            sys.executable,
            "-I",
            "-S",
            reader.__file__,
            str(mountpoint),
            str(blobs),
            str(scratch),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, order: Order) -> Result:
        """To its end, or as long as it may take. Never raises for what the load does."""
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
        if order.signal:
            if not select([process.stdout], [], [], order.signal_after)[0]:
                return self._signal(order)
        elif not select([process.stdout], [], [], patience(order))[0]:
            return self._hung(order, f"no end after {patience(order):.0f} s")
        line = process.stdout.readline()
        if line:
            return Result.of(json.loads(line))
        code = self._reap()
        if code == -signal.SIGBUS:
            return Result(order.number, "SIGBUS")
        return Result(order.number, "died", note=f"the reader ended with {code}")

    def _signal(self, order: Order) -> Result:
        """The signal it is sent, as a shell would send it: to all of its group."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, order.signal)
        began = time.monotonic()
        limit = DEATH_SECONDS if order.signal == signal.SIGKILL else patience(order)
        try:
            self._process.wait(limit)
        except subprocess.TimeoutExpired:
            return self._hung(order, f"alive {limit:.0f} s after {signal.Signals(order.signal).name}")
        self.close()
        return Result(order.number, "killed", seconds=time.monotonic() - began)

    def _hung(self, order: Order, what: str) -> Result:
        assert self._process is not None
        note = f"{what}; {where_it_waits(self._process.pid)}"
        code = self._reap()
        if code is None:
            note += "; and SIGKILL does not end it"
        return Result(order.number, "hung", note=note)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
        return self._process

    def _reap(self) -> int | None:
        """Ends it; its exit code, None if it does not end."""
        process, self._process = self._process, None
        assert process is not None
        with contextlib.suppress(ProcessLookupError):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        try:
            return process.wait(DEATH_SECONDS)
        except subprocess.TimeoutExpired:
            return None
        finally:
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                pipe.close()

    def close(self) -> None:
        if self._process is not None:
            self._reap()


def patience(order: Order) -> float:
    """Seconds after which a load hangs: it begins no block after a while, and each call has its deadline."""
    last = deadline(order, "read", CHUNK_SIZE - 1, order.block)
    program = deadline(order, "cp", 0, order.size) if order.how in (How.CP, How.CAT) else 0.0
    blocks = reader.ENOUGH_SECONDS + last
    return 2 * deadline(order, "open", 0, 0) + max(blocks, program) + 2 * SLACK


def where_it_waits(pid: int) -> str:
    """What the kernel says about a process that does not go on."""
    said = []
    for name in ("wchan", "syscall", "stack"):
        with contextlib.suppress(OSError):
            said.append(f"{name}: {' '.join(Path(f'/proc/{pid}/{name}').read_text().split())}")
    return "; ".join(said)
