"""What is mounted, read from ``/proc/self/mountinfo`` and never by touching a mount.

A daemon must not ``stat`` its own mount: the answer would have to come from itself. So its device
number, and whether it is still there, are looked up in the kernel's table (proc_pid_mountinfo(5)).
Imports nothing that takes long: every command starts with it.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FS_TYPE = "fuse.blobfs"
"""Our file system type: ``fuse`` and the option ``subtype=blobfs``."""
AUTOFS = "autofs"
"""Of a place where systemd or automount(8) mounts at the first look: whoever looks waits for that."""

CONNECTIONS = Path("/sys/fs/fuse/connections")
"""The file system fusectl: a directory for each connection, called as `Mount.minor`."""

TABLE = Path("/proc/self/mountinfo")
_USER = re.compile(rb"(?:^|,)user_id=([0-9]+)(?:,|$)")
_OCTAL = re.compile(rb"\\([0-3][0-7]{2})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of the table."""

    mount_point: str
    fs_type: str
    source: str
    device: str
    """``major:minor``, as in /sys/class/bdi. When this mount has ended, the next one made may get it."""
    user: int | None = None
    """Who serves it. All else here is chosen by whoever mounts, and fusermount3 lets everybody."""

    def shows(self, other: "Mount") -> bool:
        """Whether both are places of one file system: bind mounts of it, itself after a move.

        The device alone does not tell: a mount that was made a moment ago may have that of one that ended.
        """
        return (self.device, self.fs_type, self.source) == (other.device, other.fs_type, other.source)

    @property
    def minor(self) -> str:
        """The connection's name in `CONNECTIONS`."""
        return self.device.partition(":")[2]


def parse_mountinfo(table: bytes) -> Iterator[Mount]:
    """The mounts in the table's order, in which what covers another mount stands after it."""
    for line in table.splitlines():
        fields = line.split(b" ")
        if len(fields) < 10 or b"-" not in fields[6:]:
            continue  # not a line of this table
        fs_type, source, *options = fields[fields.index(b"-", 6) + 1 :]
        yield Mount(
            _unescape(fields[4]),
            _unescape(fs_type),
            _unescape(source),
            fields[2].decode("ascii"),
            _user(options[-1] if options else b""),
        )


def _user(options: bytes) -> int | None:
    found = _USER.search(options)
    return int(found[1]) if found else None


def _unescape(field: bytes) -> str:
    """The kernel writes space, tab, newline, ``#`` and backslash as a backslash and three octal digits."""
    return os.fsdecode(_OCTAL.sub(lambda match: bytes([int(match[1], 8)]), field))


def read_mounts() -> tuple[Mount, ...]:
    return tuple(parse_mountinfo(TABLE.read_bytes()))


def find_mount(path: str) -> Mount | None:
    """What is mounted right on `path` (absolute, without symlinks): the uppermost, if there are several."""
    return next((mount for mount in reversed(read_mounts()) if mount.mount_point == path), None)


def find_mount_of(source: str, user: int) -> Mount | None:
    """The newest blobfs mount of this store that this user serves. Others can make some that look alike."""
    wanted = (FS_TYPE, source, user)
    mounts = reversed(read_mounts())
    return next((mount for mount in mounts if (mount.fs_type, mount.source, mount.user) == wanted), None)


def is_automounted(path: str) -> bool:
    """Whether there is an automount on `path`, below whatever else is mounted there."""
    return any(mount.fs_type == AUTOFS and mount.mount_point == path for mount in read_mounts())
