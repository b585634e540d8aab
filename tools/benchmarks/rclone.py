"""``rclone mount`` of a web server, as it is compared: read-only, with a full cache, empty at first."""

import contextlib
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.benchmarks.running import Overdue, Word

PROGRAM = "rclone"
START_SECONDS = 20.0
COPIED_AT_ONCE = 32
"""Files; 4 if rclone is not told."""
LISTING = "autoindex on;"
"""What nginx must be told: rclone finds files by its lists."""


@dataclass(frozen=True, slots=True)
class RcloneMount:
    path: Path
    pid: int


def rclone_copy(url: str, target: Path) -> list[Word]:
    """The command that copies all that is below `url`; as many files at once as blobfs loads."""
    at_once = f"--transfers={COPIED_AT_ONCE}", f"--checkers={COPIED_AT_ONCE}"
    return [PROGRAM, "copy", "--http-url", url, "--config", "/dev/null", *at_once, ":http:", target]


@contextlib.contextmanager
def rclone_mount(url: str, place: Path) -> Iterator[RcloneMount]:
    """Mounted below `place`, cache included."""
    mountpoint = place / "mnt"
    mountpoint.mkdir()
    command: list[Word] = [
        *(PROGRAM, "mount", ":http:", mountpoint, "--http-url", url, "--config", "/dev/null", "--read-only"),
        *("--vfs-cache-mode", "full", "--cache-dir", place / "cache"),
    ]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_until_mounted(mountpoint)
        yield RcloneMount(mountpoint, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if _is_mounted(mountpoint):
            subprocess.run(["fusermount3", "-u", "-z", "--", mountpoint], check=False, timeout=10)


def _wait_until_mounted(mountpoint: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while not _is_mounted(mountpoint):
        if time.monotonic() > end:
            raise Overdue("rclone did not mount")
        time.sleep(0.02)


def _is_mounted(mountpoint: Path) -> bool:
    table = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
    return any(line.split(" ")[4] == str(mountpoint) for line in table.splitlines())
