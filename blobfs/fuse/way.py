"""The way to a mountpoint, as root goes it: no link is followed that somebody else may have put there.

Whoever owns a directory on the way can put a link in a mountpoint's place at any moment, also between a look
at it and the mount. So root goes from directory to directory by descriptors, and mounts on what it holds.
Nothing here asks the file system that is mounted at the end: it may be dead, stuck, or an automount.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from blobfs.errors import StartRefused
from blobfs.fuse import syscalls

_MOST_LINKS = 40
"""As the kernel."""

_TRUSTED = 0
"""Whose links are followed."""


def make_way(path: str) -> str:
    """The real path of a mountpoint, which is made where it is missing. Raises `StartRefused`."""
    try:
        with _open_way(path, may_make=True, most_links=_MOST_LINKS) as (_, real):
            return real
    except OSError as error:
        raise StartRefused(f"cannot mount on {path}: {error.strerror}") from error


@contextmanager
def held(real: str) -> Iterator[str]:
    """A path of what is at a real path now, which stays the same whatever is put in its place. Raises
    `OSError`, also for a link on the way."""
    with _open_way(real, may_make=False, most_links=0) as (descriptor, _):
        yield f"/proc/self/fd/{descriptor}"


def detach_as_root(real: str) -> None:
    """Removes the uppermost mount from the tree at once, in use or not. Blocks; raises `OSError`."""
    with held(real) as place:
        syscalls.umount(place, syscalls.MNT_DETACH)


@contextmanager
def _open_way(path: str, *, may_make: bool, most_links: int) -> Iterator[tuple[int, str]]:
    """The end of the way, as a descriptor (O_PATH), and where it is."""
    left = _parts(os.path.abspath(path))[::-1]
    way: list[tuple[str, int]] = [("", os.open("/", os.O_PATH | os.O_CLOEXEC))]
    try:
        while left:
            part = left.pop()
            if part == "..":
                _go_up(way, 1)
                continue
            way.append((part, _step(way[-1][1], part, is_last=not left, may_make=may_make)))
            target = _target(way[-1][1])
            if target is not None:
                _demand_trusted(way[-1][1], path, target, most_links)
                most_links -= 1
                left += _parts(target)[::-1]
                _go_up(way, len(way) if target.startswith("/") else 1)
        yield way[-1][1], "/".join(part for part, _ in way) or "/"
    finally:
        for _, descriptor in way:
            os.close(descriptor)


def _go_up(way: list[tuple[str, int]], steps: int) -> None:
    """Not further than the root, which is its own parent."""
    for _ in range(min(steps, len(way) - 1)):
        os.close(way.pop()[1])


def _demand_trusted(link: int, path: str, target: str, most_links: int) -> None:
    if most_links <= 0:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    if os.fstat(link).st_uid != _TRUSTED:
        raise StartRefused(
            f"cannot mount on {path}: root follows no link but root's, and that to {target} is not"
        )


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _step(directory: int, part: str, *, is_last: bool, may_make: bool) -> int:
    """The next descriptor, also of a link."""
    try:
        return _open(directory, part, is_last)
    except FileNotFoundError:
        if not may_make:
            raise
        os.mkdir(part, 0o755, dir_fd=directory)
        return _open(directory, part, is_last)


def _open(directory: int, part: str, is_last: bool) -> int:
    """An automount on the way is to mount; the one at its end waits for us."""
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    if not is_last:
        with suppress(NotADirectoryError):  # a link, perhaps
            return os.open(part, flags | os.O_DIRECTORY, dir_fd=directory)
    return os.open(part, flags, dir_fd=directory)


def _target(found: int) -> str | None:
    """Where a link leads; None for what is no link."""
    try:
        return os.readlink("", dir_fd=found)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINVAL):
            return None
        raise
