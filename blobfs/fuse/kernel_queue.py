"""What the kernel has for a mount, from the files of its connection. Never touches the mount.

They are the mount's owner's alone, and root's; somebody has to have mounted fusectl (`tuning.py` tries to).
"""

import os
from dataclasses import dataclass
from pathlib import Path

from blobfs.fuse.mountinfo import CONNECTIONS

LONGEST = 32
"""Bytes of a number in such a file."""


@dataclass(frozen=True, slots=True)
class KernelQueue:
    waiting: int
    """Requests that were not taken up yet, or not answered."""
    background_limit: int
    congestion_threshold: int


def read_kernel_queue(connection: str, connections: Path = CONNECTIONS) -> KernelQueue | None:
    """None: they are not there, or not for us. `connection` is the minor number of the mount's device."""
    directory = connections / connection
    try:
        return KernelQueue(
            *(_number(directory / name) for name in ("waiting", "max_background", "congestion_threshold"))
        )
    except (OSError, ValueError):
        return None


def _number(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(descriptor, LONGEST))
    finally:
        os.close(descriptor)
