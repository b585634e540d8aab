"""Who may use the control socket: the daemon's user, and the members of a group where one is set.

The socket is in the store, where everybody finds it who can see the mount table. A member of the group needs
a way to it: the store's directory, and those above it, must let him through (mode 0710 is enough; what is in
the store and not shared has its own, 0700).
"""

import errno
import grp
import logging
import os
import socket
import stat
from pathlib import Path

from blobfs.errors import StartRefused
from blobfs.shares.listening import bind_listener

_log = logging.getLogger(__name__)

SOCKET = "control"
"""Its name in the store."""


def bind_control(store: Path, group: str | None) -> socket.socket:
    """The listening socket. Raises `StartRefused`."""
    number = None if group is None else _group_number(group)
    # Through the directory's descriptor: a socket's path has at most 107 bytes, a store's has not.
    directory = os.open(store, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener = bind_listener(f"unix:/proc/self/fd/{directory}/{SOCKET}")
    finally:
        os.close(directory)
    if number is not None:
        try:
            _open_for(store / SOCKET, number)
        except OSError as error:
            listener.close()
            raise StartRefused(f"control.group: {_refusal(str(group), error)}") from error
        _warn_of_closed_ways(store, str(group), number)
    return listener


def _group_number(group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise StartRefused(f"control.group: this machine has no group {group!r}") from None


def _open_for(path: Path, group: int) -> None:
    os.chown(path, -1, group)
    os.chmod(path, 0o660)


def _refusal(group: str, error: OSError) -> str:
    if error.errno == errno.EPERM:
        return f"user {os.geteuid()} is no member of {group!r}, so the control socket cannot be given to it"
    return f"the control socket cannot be given to {group!r}: {error.strerror}"


def _warn_of_closed_ways(store: Path, name: str, group: int) -> None:
    for place in (store, *store.parents):
        found = place.stat()
        needed = stat.S_IXGRP if found.st_gid == group else stat.S_IXOTH
        if not found.st_mode & needed:
            _log.warning("the group %r cannot reach the control socket: %s has no x for it", name, place)
