"""Asking a running node, from another process, without touching its mount. Its store holds the socket."""

import http.client
import json
import os
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote

from blobfs import errors

TIMEOUT = 5.0
"""Seconds for one answer."""


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
    return _fetch(store, "/status")


def fetch_explanation(store: Path, name: str) -> dict[str, Any]:
    """What is known of a name, or of a blob as ``.blobfs/blobs/ID``. Raises `InvalidName`, `StartRefused`."""
    return _fetch(store, "/why?name=" + quote(name, safe="", errors="surrogateescape"))


def _fetch(store: Path, path: str) -> dict[str, Any]:
    connection = _SocketConnection(store)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        found = json.loads(answer.read())
    except (OSError, ValueError, http.client.HTTPException) as failure:
        raise errors.StartRefused(f"the daemon of {store} does not answer: {failure}") from failure
    finally:
        connection.close()
    if not isinstance(found, dict):
        raise errors.StartRefused(f"the daemon of {store} answers nonsense")
    if answer.status == http.HTTPStatus.BAD_REQUEST:
        raise errors.InvalidName(str(found.get("error")))
    if answer.status != http.HTTPStatus.OK:
        raise errors.StartRefused(f"the daemon of {store} answers {answer.status}: {found.get('error')}")
    return found
