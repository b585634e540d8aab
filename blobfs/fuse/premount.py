"""Mounting for a daemon that has no right to: the connection is made here and handed to it.

A daemon in a sandbox cannot mount for the rest of the machine, and one without privileges needs a set-uid
program for it. So whoever has the right (root, outside the sandbox) mounts, and passes the connection's
descriptor on; the daemon only ever answers what comes out of it. Until it does, callers wait.
"""

import os
import stat

from blobfs.errors import StartRefused
from blobfs.fuse import syscalls
from blobfs.fuse.mountinfo import FS_TYPE, find_mount
from blobfs.fuse.tuning import read_further_ahead
from blobfs.fuse.way import held

DEVICE = "/dev/fuse"


def premount(target: str, source: str, uid: int, gid: int, *, read_only: bool) -> int:
    """The descriptor of a new mount on `target` (see `prepare_mountpoint`), for a daemon of that user.

    All users of the machine may use it; the kernel checks the permissions. Raises `StartRefused`.
    """
    options = f"rootmode={stat.S_IFDIR:o},user_id={uid},group_id={gid},allow_other,default_permissions"
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | (syscalls.MS_RDONLY if read_only else 0)
    try:
        descriptor = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise StartRefused(f"cannot mount on {target}: {DEVICE}: {error.strerror}") from error
    try:
        with held(target) as place:
            syscalls.mount(source, place, FS_TYPE, flags, f"fd={descriptor},{options}")
    except OSError as error:
        os.close(descriptor)
        raise StartRefused(f"cannot mount on {target}: {error.strerror}") from error
    mount = find_mount(target)
    if mount is not None:
        read_further_ahead(mount)
    return descriptor
