"""A FUSE daemon of somebody else's, in the foreground: started, waited for, and gone whatever happens."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.benchmarks.running import Failed, Overdue, Word, has_ended

START_SECONDS = 20.0
STOP_SECONDS = 5.0
ENDING_SECONDS = 1.0
"""What a daemon is given to end by itself when its mount is gone."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """One that runs, or did."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def death(self) -> str:
        """How it ended; empty while it lives."""
        if (code := self.process.poll()) is None:
            return ""
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        lines = self.log.read_text("utf-8", "replace").splitlines()
        last = next((line for line in reversed(lines) if line.strip() and "[0x" not in line), "")
        return f"it crashed: {how}: {last.strip()[:100]}"


@contextlib.contextmanager
def running(place: Path, *command: Word, more: Mapping[str, str] | None = None) -> Iterator[Daemon]:
    """A program that stays until it is ended; what it says is below `place`."""
    log = place / f"{Path(command[0]).name}.log"
    with log.open("ab") as said:
        environment = {**os.environ, "LC_ALL": "C", **(more or {})}
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment
        )
    try:
        yield Daemon(process, log)
    finally:
        _end(process)


@contextlib.contextmanager
def mounting(
    place: Path, command: Sequence[Word], mountpoint: Path, more: Mapping[str, str] | None = None
) -> Iterator[Daemon]:
    """The same for one that mounts: it is ready."""
    mountpoint.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        stack.callback(_unmount, mountpoint)  # last, for it is what frees whoever hangs in it
        daemon = stack.enter_context(running(place, *command, more=more))
        _wait_until_mounted(daemon, mountpoint)
        yield daemon
        _unmount(mountpoint)  # first, so that it ends by itself and writes down what it has
        has_ended(daemon.process, ENDING_SECONDS)


def is_mounted(mountpoint: Path) -> bool:
    """Asks the kernel's table, not the mount."""
    table = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
    return any(line.split(" ")[4] == str(mountpoint) for line in table.splitlines())


def _wait_until_mounted(daemon: Daemon, mountpoint: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while not is_mounted(mountpoint):
        if death := daemon.death():
            raise Failed(death)
        if time.monotonic() > end:
            raise Overdue(f"it had not mounted after {START_SECONDS:g} s")
        time.sleep(0.01)


def _unmount(mountpoint: Path) -> None:
    if is_mounted(mountpoint):
        subprocess.run(["fusermount3", "-u", "-z", "--", mountpoint], check=False, timeout=10)


def _end(process: subprocess.Popen[bytes]) -> None:
    for end in (process.terminate, process.kill):
        if process.poll() is None:
            end()
            has_ended(process, STOP_SECONDS)
