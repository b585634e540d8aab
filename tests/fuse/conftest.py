"""A mounted file system in a process of its own. The mount is touched by other processes only."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SECONDS = 20
"""No command on a mount takes longer, unless it hangs."""


def run(*command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=check, capture_output=True, text=True, timeout=SECONDS)


class Mounted:
    """The process that serves `path`."""

    def __init__(self, path: Path, log: Path, words: tuple[str, ...]) -> None:
        self.path = path
        self._log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.fuse.memory", path, *words],
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=Path(__file__).parents[2],
            )

    def read_line(self) -> str:
        """What the process says next, without buffering beyond the line."""
        assert self.process.stdout is not None
        descriptor, line = self.process.stdout.fileno(), b""
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([descriptor], [], [], SECONDS)
            byte = os.read(descriptor, 1) if readable else b""
            assert byte, f"after {line!r} the process says nothing; its log:\n{self.log()}"
            line += byte
        return line.decode().rstrip("\n")

    def log(self) -> str:
        return self._log.read_text()

    def wait(self, seconds: float = SECONDS) -> dict[str, Any]:
        """The statistics of a process that ended well, within the bound."""
        assert self.process.wait(seconds) == 0, self.log()
        assert "Traceback" not in self.log()
        return json.loads(self.read_line())

    def terminate(self, seconds: float = SECONDS) -> dict[str, Any]:
        self.process.send_signal(signal.SIGTERM)
        return self.wait(seconds)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def mountpoint(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "mnt"
    path.mkdir()
    yield path
    while run("fusermount3", "-u", "-z", "--", path, check=False).returncode == 0:
        continue


@pytest.fixture
def mount(mountpoint: Path, tmp_path: Path) -> Iterator[Callable[..., Mounted]]:
    """Mounts on `mountpoint`, with the words that tests.fuse.memory takes, and waits until it is ready."""
    started: list[Mounted] = []

    def start(*words: str) -> Mounted:
        mounted = Mounted(mountpoint, tmp_path / f"log{len(started)}", words)
        started.append(mounted)
        assert mounted.read_line() == "ready", mounted.log()
        return mounted

    yield start
    for mounted in started:
        mounted.close()
