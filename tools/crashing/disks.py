"""Disks whose state at one instant can be copied: files on an XFS that shares extents between copies.

::

    outer.img --loop--> XFS with reflinks, holds disk.img --loop, direct--> ext4 or XFS, holds the store

What the inner file system has submitted is in disk.img, in order, and nothing else is: the loop device
by-passes the page cache. FICLONE of disk.img is atomic towards its writes (it takes the inode's lock and
waits for those under way), so the copy is what a disk with a write-through cache holds when the power fails
at that instant. What a disk with a volatile cache may do besides is not simulated: to lose some of what was
not yet flushed and keep what was written after it.
"""

import fcntl
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

FICLONE = 0x40049409
"""linux/fs.h"""
OUTER_BYTES = 4 << 30
INNER_BYTES = 400 << 20
"""mkfs.xfs makes nothing below 300 MiB. Sparse, like the outer one."""
SECTOR = 4096
"""Bytes. With less, direct writes to a file that shares extents would go through the page cache."""
MKFS = {"ext4": ("mkfs.ext4", "-q", "-b", str(SECTOR)), "xfs": ("mkfs.xfs", "-q", "-s", f"size={SECTOR}")}
SECONDS = 30.0
"""Of any command here; far more than it takes."""


def run(*command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, check=False, timeout=SECONDS, capture_output=True, text=True)
    if check and done.returncode:
        raise OSError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done


@contextmanager
def mounted(image: Path, place: Path, *options: str, direct: bool = False) -> Iterator[Path]:
    """`image` through a loop device of its own, at `place`; whatever happens, it is gone at the end."""
    place.mkdir(parents=True, exist_ok=True)
    how = ("--direct-io=on", f"--sector-size={SECTOR}") if direct else ()
    device = run("losetup", "--find", "--show", *how, image).stdout.strip()
    try:
        run("mount", "-o", ",".join(["noatime", *options]), device, place)
        try:
            yield place
        finally:
            if run("umount", place, check=False).returncode:
                run("umount", "--lazy", place)
    finally:
        run("losetup", "--detach", device)


@contextmanager
def copying_disk(directory: Path) -> Iterator[Path]:
    """A directory on an XFS in which files can be cloned."""
    image = directory / "outer.img"
    with image.open("wb") as file:
        file.truncate(OUTER_BYTES)
    run("mkfs.xfs", "-q", "-m", "reflink=1", image)
    try:
        with mounted(image, directory / "outer") as place:
            yield place
    finally:
        image.unlink()


@dataclass(frozen=True, slots=True)
class Disk:
    """An image with a file system in it."""

    image: Path
    kind: str

    def make(self) -> None:
        with self.image.open("wb") as file:
            file.truncate(INNER_BYTES)
        run(*MKFS[self.kind], self.image)

    def clone(self, target: Path) -> "Disk":
        """What it holds at this instant."""
        with self.image.open("rb") as source, target.open("wb") as copy:
            fcntl.ioctl(copy, FICLONE, source.fileno())
        return Disk(target, self.kind)

    @contextmanager
    def mounted(self, place: Path) -> Iterator[Path]:
        """Replays the journal, if there is something to replay. A copy has the UUID of what it is one of."""
        options = ["nouuid"] if self.kind == "xfs" else []
        with mounted(self.image, place, *options, direct=True):
            yield place

    def check(self) -> str:
        """What fsck says without changing anything, of an unmounted disk; empty if all is well."""
        command = ["xfs_repair", "-n"] if self.kind == "xfs" else ["e2fsck", "-fn"]
        done = run(*command, self.image, check=False)
        return "" if done.returncode == 0 else done.stdout + done.stderr

    def remove(self) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self.image)
