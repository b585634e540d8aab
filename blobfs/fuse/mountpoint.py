"""The directory to mount on: fit for it, healed of a dead daemon's mount, and given back.

What may hang is asked in a thread and with a limit: a mount whose daemon is stuck answers nobody.
"""

import errno
import logging
import os
import subprocess
from collections.abc import Callable
from typing import TypeVar

import trio

from blobfs.errors import InvalidArgument, OperationRefused, StartRefused
from blobfs.fuse import syscalls
from blobfs.fuse.mountinfo import AUTOFS, FS_TYPE, Mount, find_mount
from blobfs.fuse.way import detach_as_root

PROBE_SECONDS = 5.0
"""A directory that does not answer for so long hangs."""

UNMOUNT_SECONDS = 10.0
"""Unmounting writes back what is dirty; a mount that takes longer than this is stuck."""

_MAX_LAYERS = 64
"""Dead mounts that are removed from one directory; more means that they come back."""

_log = logging.getLogger(__name__)

_T = TypeVar("_T")


async def prepare_mountpoint(path: str, *, nonempty: bool = False) -> str:
    """The directory to mount on, absolute and without symlinks.

    Raises `StartRefused` for what is missing, no directory, not empty (unless `nonempty`), mounted
    already, or does not answer. A dead blobfs mount there is removed, however many lie on each other.
    """
    target = await _probe(path, os.path.realpath)
    under = find_mount(target)
    if under is not None and under.fs_type == AUTOFS:
        return target  # empty, and whoever looks closer waits until this very mount is there
    for _ in range(_MAX_LAYERS):
        try:
            # Not stat: for a second or so the kernel answers that for a daemon that is dead.
            await _probe(target, os.statvfs)
            break
        except OSError as error:
            await _remove_dead_mount(target, error)
    mount = find_mount(target)
    if mount is not None and mount.fs_type == FS_TYPE:
        raise StartRefused(f"already mounted: {target} (store {mount.source})")
    try:
        entries = await _probe(target, os.listdir)
    except OSError as error:
        raise StartRefused(f"cannot mount on {target}: {error.strerror}") from error
    if entries and not nonempty:
        raise StartRefused(f"cannot mount on {target}: not empty, its files would be hidden")
    return target


async def _remove_dead_mount(target: str, error: OSError) -> None:
    """The daemon of the uppermost mount is gone: it took no leave, so the kernel kept the mount."""
    mount = find_mount(target)
    if error.errno != errno.ENOTCONN or mount is None or mount.fs_type != FS_TYPE:
        raise StartRefused(f"cannot mount on {target}: {error.strerror}") from error
    try:
        await detach(target)
    except OSError as failure:
        raise StartRefused(f"cannot remove the dead mount on {target}: {failure.strerror}") from failure
    _log.warning("removed a dead mount of %s from %s: its daemon had died", mount.source, target)


async def _probe(path: str, look: Callable[[str], _T]) -> _T:
    """What `look` says about `path`. Raises `OSError`, and `StartRefused` if it does not answer."""
    with trio.move_on_after(PROBE_SECONDS):
        return await trio.to_thread.run_sync(look, path, abandon_on_cancel=True)
    raise StartRefused(f"{path} does not answer within {PROBE_SECONDS:.0f} s: the file system there hangs")


async def unmount(path: str, *, lazy: bool = False) -> Mount:
    """Unmounts the blobfs mount at `path` and returns it; `lazy`: also while it is in use.

    Raises `BlobfsError`.
    """
    # The mount itself may be stuck: it is looked at only if it is none of ours, but a link to one perhaps.
    parent, last = os.path.split(os.path.abspath(path))
    target = os.path.join(await _probe(parent, os.path.realpath), last)
    mount = find_mount(target)
    if mount is None or mount.fs_type != FS_TYPE:
        target = await _probe(path, os.path.realpath)
        mount = find_mount(target)
    if mount is None or mount.fs_type != FS_TYPE:
        raise InvalidArgument(f"not a blobfs mount: {target}")
    try:
        await _umount(target, lazy=lazy)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise OperationRefused(
                f"{target} is in use: close the files and shells in it, or use --lazy"
            ) from error
        raise OperationRefused(f"cannot unmount {target}: {error.strerror}") from error
    return mount


async def detach(target: str) -> None:
    """Removes the mount from the tree at once, in use or not. Raises `OSError`."""
    await _umount(target, lazy=True)


async def _umount(target: str, *, lazy: bool) -> None:
    """Root asks the kernel, others fusermount3. Raises `OSError`."""
    with trio.move_on_after(UNMOUNT_SECONDS):
        if os.geteuid() == 0 and lazy:
            await trio.to_thread.run_sync(detach_as_root, target, abandon_on_cancel=True)
        elif os.geteuid() == 0:
            flags = syscalls.UMOUNT_NOFOLLOW
            await trio.to_thread.run_sync(syscalls.umount, target, flags, abandon_on_cancel=True)
        else:
            await _fusermount(target, lazy=lazy)
        return
    raise TimeoutError(errno.ETIMEDOUT, f"not done after {UNMOUNT_SECONDS:.0f} s", target)


async def _fusermount(target: str, *, lazy: bool) -> None:
    command = ["fusermount3", "-u", *(["-z"] if lazy else []), "--", target]
    plain = {**os.environ, "LC_ALL": "C"}
    try:
        done = await trio.run_process(
            command, check=False, stdout=subprocess.DEVNULL, capture_stderr=True, env=plain
        )
    except FileNotFoundError:
        raise OSError(errno.EPERM, "fusermount3 is not installed", target) from None
    if done.returncode != 0:
        text = done.stderr.decode("utf-8", "replace").strip() or f"fusermount3 says {done.returncode}"
        busy = text.endswith(os.strerror(errno.EBUSY))
        raise OSError(errno.EBUSY if busy else errno.EPERM, text, target)
