"""Why a daemon does not answer: what the kernel says of it. Never touches its mount."""

import os
import socket
import struct
from pathlib import Path

_CREDENTIALS = struct.Struct("iII")
"""pid, uid and gid (unix(7), SO_PEERCRED)."""

_LOCK_BYTES = 32
"""The daemon writes its pid into its store's lock."""


def pid_behind(connection: socket.socket) -> int | None:
    """Who listens at the other end; None where that is a world with other pids."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid: int = _CREDENTIALS.unpack(found)[0]
    return pid or None


def pid_of_store(store: Path) -> int | None:
    """Of the last daemon that had it, as it says: whoever owns the store can write what he likes there."""
    try:
        with open(store / "lock", "rb", buffering=0, opener=_open_at_once) as lock:
            text = (lock.read(_LOCK_BYTES) or b"").strip()
            user = os.fstat(lock.fileno()).st_uid
    except OSError:
        return None
    return int(text) if text.isdigit() and _may_be(int(text), user) else None


def _may_be(pid: int, user: int) -> bool:
    """Whether it is a process of this user, or none any more: nobody is to be told to kill another's."""
    try:
        return os.stat(f"/proc/{pid}").st_uid == user
    except OSError:
        return True


def _open_at_once(path: str, flags: int) -> int:
    """Root asks, too, and it may be a link, or a pipe that nobody writes to."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def reason_for_silence(pid: int) -> str | None:
    """What keeps it from answering; None if nothing does that can be seen."""
    match _state(pid):
        case "T":
            return f"it is stopped (SIGSTOP); kill -CONT {pid} lets it go on"
        case "t":
            return "a debugger holds it"
        case "Z" | None:
            return "it has ended"
    return None


def is_stopped(pid: int) -> bool:
    return _state(pid) in ("T", "t")


def is_alive(pid: int) -> bool:
    return _state(pid) not in ("Z", None)


def _state(pid: int) -> str | None:
    """proc_pid_stat(5): one letter; None: there is no such process."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        line = os.read(descriptor, 4096)
    except ProcessLookupError:
        return None
    finally:
        os.close(descriptor)
    return line.rpartition(b") ")[2][:1].decode("ascii")
