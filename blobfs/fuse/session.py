"""One mount, from the kernel's first request to the last: mounted, served, and never left behind.

A mount that was made for this process (`premount`) is served in the same way; whoever made it removes it.

The session ends in one of three ways, and each takes the same road:

1. ``umount`` with nothing open: the kernel ends the connection, and the loop with it.
2. ``umount -l`` while files are open: the connection lives on. The mount is gone from the table, though,
   and that is noticed; open files get `MountSettings.drain` seconds to be closed.
3. The task is cancelled: the mount is detached from the tree, and then as 2. Operations are served
   meanwhile, so cancel this before what the file system needs.

At the end the connection's descriptor is closed. The kernel then answers whatever is still waiting with
ENOTCONN, so nobody hangs. It never sends the RELEASE of a file that was closed just before the unmount, if
the loop was too busy to take it: where nothing is open any more, the session releases what is left. A file
that was open when it was cut off is not released: whoever wrote it had not finished.
"""

import errno
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import pyfuse3
import trio

from blobfs.errors import StartRefused
from blobfs.fuse.adapter import Adapter
from blobfs.fuse.descriptors import fuse_descriptors
from blobfs.fuse.mount_end import wait_until_gone
from blobfs.fuse.mountinfo import FS_TYPE, Mount, find_mount, read_mounts
from blobfs.fuse.mountpoint import detach
from blobfs.fuse.tuning import MAX_BACKGROUND, tune

MAX_TASKS = 2 * MAX_BACKGROUND
"""Requests served at once: all that the kernel sends in the background, and as many that are waited for."""

INIT_SECONDS = 10.0
"""The kernel sends INIT while it mounts; after so long it never will."""

DETACH_SECONDS = 2.0
"""Detaching does not wait for open files: it takes milliseconds, or something is badly wrong."""

_FSTAB_ONLY = frozenset(
    ["defaults", "rw", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail", "_netdev"]
)
"""Options that mean something to mount(8) and fstab(5), nothing here, and which libfuse refuses."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MountSettings:
    """How to mount."""

    source: str
    """What stands in the first column of ``df``: the store's path."""
    read_only: bool = False
    allow_other: bool = False
    """For all users of this machine; the kernel then checks the permissions."""
    options: tuple[str, ...] = ()
    """As after ``-o``, one each. What libfuse does not know is refused."""
    descriptor: int | None = None
    """The connection of a mount that was made already (`premount`). It is not this session's to remove."""
    drain: float = 2.0
    """Seconds for which files that are open at the end are still served."""


def mount_options(settings: MountSettings, *, as_root: bool) -> set[str]:
    """The options as libfuse parses them. Raises `StartRefused`."""
    options = {option for option in settings.options if not _is_fstab_only(option)}
    options |= {f"fsname={_escape(settings.source)}", "subtype=blobfs"}
    if settings.read_only:
        options.add("ro")
    if settings.allow_other or "allow_other" in options:
        options |= {"allow_other", "default_permissions"}
    if as_root:  # fusermount3 sees to it for the others
        options |= {f"no{right}" for right in ("suid", "dev") if right not in options}
    for option in options:
        if not option.isascii() or not option.isprintable():
            raise StartRefused(f"mount option is not plain ASCII: {option!r}")
    return options


def _is_fstab_only(option: str) -> bool:
    return option in _FSTAB_ONLY or option.startswith(("x-", "X-", "comment="))


def _escape(value: str) -> str:
    """For libfuse's option parser: a backslash and three octal digits is a byte."""
    plain = b"/-._~+:@%=" + bytes(range(0x30, 0x3A)) + bytes(range(0x41, 0x5B)) + bytes(range(0x61, 0x7B))
    return "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in os.fsencode(value))


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """pyfuse3 calls it an error when a caller was killed before it got its answer."""
    return not record.getMessage().endswith(f"fuse_reply_* failed with {os.strerror(errno.ENOENT)}")


async def serve_mount(
    adapter: Adapter,
    mountpoint: str,
    settings: MountSettings,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Mounts on `mountpoint` (see `mountpoint.prepare_mountpoint`), and returns when it is unmounted.

    Started once the kernel has been answered its INIT. Raises `StartRefused`. One at a time per process.
    """
    logging.getLogger("pyfuse3").addFilter(_is_worth_a_line)
    if settings.descriptor is None:
        mount, connection = _mount(adapter, mountpoint, settings)
    else:
        mount, connection = _take_over(adapter, mountpoint, settings.descriptor)
    adapter.front.begin(connection)
    try:
        await _serve(adapter, mount, connection, settings, task_status)
    finally:
        adapter.front.end()
        pyfuse3.close(unmount=False)  # closes the connection; the mount is detached already
        _log.info("unmounted %s", mountpoint)


def _mount(adapter: Adapter, mountpoint: str, settings: MountSettings) -> tuple[Mount, int]:
    """The mount, and the descriptor of the connection to the kernel."""
    options = mount_options(settings, as_root=os.geteuid() == 0)
    others = fuse_descriptors()
    with tempfile.TemporaryFile() as said:
        try:
            with _stderr_to(said):
                pyfuse3.init(adapter, mountpoint, options)
        except RuntimeError as error:
            said.seek(0)
            reason = " ".join(said.read().decode("utf-8", "replace").split())
            raise StartRefused(f"cannot mount on {mountpoint}: {reason or error}") from error
    connections = fuse_descriptors() - others
    mount = find_mount(mountpoint)
    if mount is None or mount.fs_type != FS_TYPE:
        pyfuse3.close()
        raise StartRefused(f"mounted on {mountpoint}, but the mount is not to be seen there")
    return mount, min(connections)


def _take_over(adapter: Adapter, mountpoint: str, descriptor: int) -> tuple[Mount, int]:
    """As `_mount`, of a mount that is there."""
    mount = find_mount(mountpoint)
    if mount is None or mount.fs_type != FS_TYPE:
        raise StartRefused(f"a connection was passed, but no mount of blobfs is to be seen on {mountpoint}")
    try:
        pyfuse3.init(adapter, f"/dev/fd/{descriptor}", set())
    except RuntimeError as error:
        raise StartRefused(f"cannot serve {mountpoint}: {error}") from error
    return mount, descriptor


@contextmanager
def _stderr_to(file: IO[bytes]) -> Iterator[None]:
    """libfuse and fusermount3 say on stderr why they refuse; it belongs into the error's one line."""
    saved = os.dup(2)
    try:
        os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


async def _serve(
    adapter: Adapter,
    mount: Mount,
    connection: int,
    settings: MountSettings,
    task_status: trio.TaskStatus[None],
) -> None:
    ended = trio.Event()
    pruning = trio.CancelScope()
    loop = trio.CancelScope(shield=True)  # requests are answered until the mount is gone

    async def answer_requests() -> None:
        try:
            with loop:
                await pyfuse3.main(max_tasks=MAX_TASKS)
        finally:
            ended.set()

    async def prune_stale() -> None:
        with pruning:
            await adapter.prune_stale(connection)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer_requests)
        try:
            await _wait_initialized(adapter, mount)
            nursery.start_soon(prune_stale)
            task_status.started()
            await _wait_unmounted(ended, mount)
        finally:
            pruning.cancel()
            with trio.CancelScope(shield=True):
                aborted = ended.is_set() and _is_mounted(mount)
                if settings.descriptor is None:
                    await _detach_all(mount)
                with trio.move_on_after(settings.drain) as patience:
                    await ended.wait()
                    if not aborted:
                        await adapter.release_unsent()
            if patience.cancelled_caught:
                _log.info("%s is unmounted, what is still open there is cut off", mount.mount_point)
            loop.cancel()


async def _wait_initialized(adapter: Adapter, mount: Mount) -> None:
    with trio.move_on_after(INIT_SECONDS):
        await adapter.initialized.wait()
        tune(mount)
        return
    raise StartRefused(f"mounted on {mount.mount_point}, but the kernel sends no requests")


async def _wait_unmounted(ended: trio.Event, mount: Mount) -> None:
    """Until the connection has ended, or the mount is gone and only open files keep the connection."""

    async def watch_table(scope: trio.CancelScope) -> None:
        await wait_until_gone(mount)
        scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_table, nursery.cancel_scope)
        await ended.wait()
        nursery.cancel_scope.cancel()


def _is_mounted(mount: Mount) -> bool:
    return any(mount.shows(other) for other in read_mounts())


async def _detach_all(mount: Mount) -> None:
    """Removes what is left of the mount, bind mounts of it included; not what covers it."""
    for left in [other for other in read_mounts() if mount.shows(other)]:
        try:
            if find_mount(left.mount_point) == left:
                with trio.fail_after(DETACH_SECONDS):
                    await detach(left.mount_point)
        except (OSError, trio.TooSlowError) as error:
            if left in read_mounts():  # else somebody was faster: who ended it may unmount it as well
                _log.warning("cannot unmount %s: %s", left.mount_point, error)
