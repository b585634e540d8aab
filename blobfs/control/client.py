"""Asking a running node, from another process, without touching its mount.

The mount table says which store belongs to a mountpoint, and the store holds the socket.
"""

import http.client
import json
import os
import socket
from pathlib import Path
from typing import Any

from blobfs import errors
from blobfs.fuse.mountinfo import FS_TYPE, read_mounts

TIMEOUT = 5.0
"""Seconds for one answer."""


def find_stores(mountpoint: str | None) -> list[tuple[str, Path]]:
    """Mountpoint and store of every blobfs mount, or of the one that is named. Raises `StartRefused`."""
    mounts = [mount for mount in read_mounts() if mount.fs_type == FS_TYPE]
    if mountpoint is not None:
        # realpath() of the parent only: the mount itself may be stuck.
        parent, last = os.path.split(os.path.abspath(mountpoint))
        wanted = os.path.join(os.path.realpath(parent), last)
        mounts = [mount for mount in mounts if mount.mount_point == wanted]
        if not mounts:
            raise errors.StartRefused(f"no blobfs is mounted on {mountpoint}")
    return [(mount.mount_point, Path(mount.source)) for mount in mounts]


class _SocketConnection(http.client.HTTPConnection):
    def __init__(self, store: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._store = store

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        # Through the directory's descriptor: a socket's path has at most 107 bytes, a store's has not.
        directory = os.open(self._store, os.O_PATH | os.O_DIRECTORY)
        try:
            self.sock.connect(f"/proc/self/fd/{directory}/control")
        finally:
            os.close(directory)


def fetch_status(store: Path) -> dict[str, Any]:
    """Raises `StartRefused` when the node does not answer."""
    connection = _SocketConnection(store)
    try:
        connection.request("GET", "/status")
        answer = connection.getresponse()
        found = json.loads(answer.read())
    except (OSError, ValueError, http.client.HTTPException) as failure:
        raise errors.StartRefused(f"the daemon of {store} does not answer: {failure}") from failure
    finally:
        connection.close()
    if not isinstance(found, dict):
        raise errors.StartRefused(f"the daemon of {store} answers nonsense")
    return found
