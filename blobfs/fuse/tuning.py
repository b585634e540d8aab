"""Limits of the mount that only files under /sys can raise, and only root.

Without them everything works, slower: a failure is one line in the log and nothing more.
"""

import logging
import os
from pathlib import Path

from blobfs.fuse import syscalls
from blobfs.fuse.mountinfo import CONNECTIONS, Mount, read_mounts

READ_AHEAD_KIB = 4096
"""How far the kernel reads ahead. Its default, 128, gives a cold sequential read a third of the speed."""

MAX_BACKGROUND = 512
"""Read-aheads and other background requests in flight. With the kernel's default, 12, a dozen readers that
wait for a dead share block all others."""

CONGESTION_THRESHOLD = MAX_BACKGROUND * 3 // 4
"""From here on the kernel sends fewer of them; three quarters is its own rule."""

_log = logging.getLogger(__name__)

_BDI = Path("/sys/class/bdi")


def tune(mount: Mount) -> None:
    """Call it after INIT, whose answer sets these limits too. Never touches the mount."""
    mount_fusectl()
    connection = CONNECTIONS / mount.minor
    read_further_ahead(mount)
    for path, value in (
        (connection / "max_background", MAX_BACKGROUND),
        (connection / "congestion_threshold", CONGESTION_THRESHOLD),
    ):
        _write(path, value)


def read_further_ahead(mount: Mount) -> None:
    """May be called before INIT, whose answer lowers it to what it says itself (`wire`)."""
    _write(_BDI / mount.device / "read_ahead_kb", READ_AHEAD_KIB)


def mount_fusectl() -> None:
    """The file system of the connections' limits; systemd mounts it, a container often has none."""
    if os.geteuid() != 0 or any(mount.fs_type == "fusectl" for mount in read_mounts()):
        return
    try:
        syscalls.mount("fusectl", str(CONNECTIONS), "fusectl")
    except OSError as error:
        _log.debug("cannot mount fusectl: %s", error)


def _write(path: Path, value: int) -> None:
    try:
        if path.read_text("ascii").strip() == str(value):
            return  # set already, by who had the right to
        path.write_text(f"{value}\n", "ascii")
    except OSError as error:
        _log.info("kernel limit left as it is: %s: %s", path, error.strerror)
