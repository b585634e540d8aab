"""A small disk of its own for a node's store: ext4 on a file. It can be filled up, and it can be frozen."""

import fcntl
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.mount.probes import MIB, errno_of

DISK_SIZE = 48 * MIB
FIFREEZE, FITHAW = 0xC0045877, 0xC0045878
"""What fsfreeze(8) does (linux/fs.h). No program is started for it: one that is started while a thread writes
closes its copy of the descriptor, and waits for that as long as the disk is frozen.
"""


class SmallDisk:
    """A file system of its own at `path`: ext4 on a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ballast = path / "ballast"

    def fill(self, leave: int = 0) -> None:
        """Somebody else takes the room, but for about `leave` bytes."""
        with self.ballast.open("wb", buffering=0) as file:
            for block in (bytes(64 * 1024), bytes(1024)):
                while self.free() > leave and errno_of(partial(file.write, block)) == 0:
                    pass
            os.fsync(file.fileno())

    def free(self) -> int:
        space = os.statvfs(self.path)
        return space.f_bavail * space.f_frsize

    def make_room(self) -> None:
        self.ballast.unlink()


@contextmanager
def loop_disk(path: Path, size: int = DISK_SIZE) -> Iterator[SmallDisk]:
    """Mounted at `path`, of so many bytes, whatever happens until the end."""
    image = path.parent / f"{path.name}-image"
    with image.open("wb") as file:
        file.truncate(size)
    path.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True, timeout=20)
    subprocess.run(["mount", "-o", "loop", image, path], check=True, timeout=20)
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", path], check=True, timeout=20)


@contextmanager
def frozen(disk: SmallDisk) -> Iterator[None]:
    """Whatever would change the disk waits."""
    directory = os.open(disk.path, os.O_RDONLY)
    try:
        fcntl.ioctl(directory, FIFREEZE, 0)
        try:
            yield
        finally:
            fcntl.ioctl(directory, FITHAW, 0)
    finally:
        os.close(directory)
