"""mount(2) and umount2(2), which Python's os module lacks. They may block: call them in a thread."""

import ctypes
import os

MNT_DETACH = 2
"""Gone from the tree at once; the rest when the last file on it is closed."""
UMOUNT_NOFOLLOW = 8
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, fs_type: str, flags: int = 0, options: str = "") -> None:
    """Raises `OSError`."""
    result = _libc.mount(
        os.fsencode(source), os.fsencode(target), fs_type.encode("ascii"), flags, options.encode("ascii")
    )
    _check(result, target)


def umount(target: str, flags: int) -> None:
    """Raises `OSError`."""
    _check(_libc.umount2(os.fsencode(target), flags), target)


def _check(result: int, path: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
