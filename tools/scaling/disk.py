"""A file system of its own for a store, on a file that goes away: nothing else lies on it."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

BYTES_A_NAME = 10 << 10
"""A block each for the blob and its record, and their part of the directories."""
INODES_A_NAME = 2.1
LEAST_BYTES = 1 << 30
MKFS_SECONDS = 300.0
UNMOUNT_SECONDS = 300.0


@contextlib.contextmanager
def loop_disk(folder: Path, names: int) -> Iterator[Path]:
    """An ext4 with room for so many names and their blobs, mounted; removed afterwards."""
    image, mountpoint = folder / "disk", folder / "mnt"
    inodes = int(names * INODES_A_NAME) + 100_000
    with image.open("wb") as file:
        file.truncate(LEAST_BYTES + names * BYTES_A_NAME)
    mountpoint.mkdir()
    options = ["-q", "-m", "0", "-N", str(inodes), "-E", "lazy_itable_init=1,lazy_journal_init=1"]
    subprocess.run(["mkfs.ext4", *options, image], check=True, timeout=MKFS_SECONDS)
    subprocess.run(["mount", "-o", "loop,noinit_itable", image, mountpoint], check=True, timeout=MKFS_SECONDS)
    try:
        yield mountpoint
    finally:
        os.truncate(image, 0)  # nothing of it needs to reach the disk any more
        subprocess.run(["umount", "--lazy", mountpoint], check=False, timeout=UNMOUNT_SECONDS)
        image.unlink()


def forget_names() -> None:
    """The kernel knows no name and no inode any more that nobody uses: the next lookup of each asks again."""
    Path("/proc/sys/vm/drop_caches").write_text("2\n", "ascii")


def drop_caches() -> None:
    """Nothing of any disk is in memory after this."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3\n", "ascii")
