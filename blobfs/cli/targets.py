"""From what was typed to a node and a name. Nothing here touches a mount: it may be stuck.

The mount table says which store belongs to a mountpoint, and the store holds the node's socket.
"""

import contextlib
import os
from pathlib import Path

from blobfs.errors import StartRefused
from blobfs.fuse.mountinfo import FS_TYPE, Mount, read_mounts
from blobfs.model import RESERVED_PREFIX, Invalid, parse_blob_id


def find_stores(mountpoint: str | None) -> list[tuple[str, Path]]:
    """Mountpoint and store of every blobfs mount, or of the one that is named. Raises `StartRefused`."""
    return [(mount.mount_point, Path(mount.source)) for mount in find_mounts(mountpoint)]


def find_mounts(mountpoint: str | None) -> list[Mount]:
    """Every blobfs mount, or those on a directory, the uppermost last. Raises `StartRefused`."""
    mounts = [mount for mount in read_mounts() if mount.fs_type == FS_TYPE]
    if mountpoint is not None:
        wanted = _real_parent(os.path.abspath(mountpoint))
        mounts = [mount for mount in mounts if mount.mount_point == wanted]
        if not mounts:
            raise StartRefused(f"no blobfs is mounted on {mountpoint}")
    return mounts


def find_name(mountpoint: str, typed: str) -> str | None:
    """The name that was meant; a blob as ``.blobfs/blobs/ID``. None: a path that is not in the mount.

    1. A blob id is that blob; a file that is called like one is ``./ID``.
    2. A path below the mountpoint is the name it has there.
    3. Anything else is a name already, unless it is an absolute path.
    """
    with contextlib.suppress(Invalid):
        return f"{RESERVED_PREFIX}/blobs/{parse_blob_id(typed)}"
    below = _below(mountpoint, os.path.abspath(typed))
    if below is None and os.path.isabs(typed):
        return None
    return typed.removeprefix("./") if below is None else below


def _below(mountpoint: str, path: str) -> str | None:
    """What follows the mountpoint. Links may lead there: they are looked at from the top, up to the mount."""
    parts = path.split("/")
    for end in range(2, len(parts) + 1):
        if _real_parent("/".join(parts[:end])) == mountpoint:
            return "/".join(parts[end:])
    return None


def _real_parent(path: str) -> str:
    """A path whose last component, which may be a mountpoint, is not looked at."""
    parent, last = os.path.split(path)
    return os.path.join(os.path.realpath(parent), last)
