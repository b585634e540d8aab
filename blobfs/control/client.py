"""Asking a running node, from another process, without touching its mount. Its store holds the socket."""

import http.client
import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

from blobfs import errors

TIMEOUT = 5.0
"""Seconds for one answer."""
PATIENCE = 600.0
"""Seconds for what may have to touch a million files."""
SILENCE = 20.0
"""Seconds without a line from a load: they come a few times a second, unless the node hangs."""


class _SocketConnection(http.client.HTTPConnection):
    def __init__(self, store: Path, timeout: float = TIMEOUT) -> None:
        super().__init__("localhost", timeout=timeout)
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


def touch(store: Path, what: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """Pins, unpins or evicts paths in the mount (``pin``, ``unpin``, ``evict``): what came of each, in the
    same order without repeats (`blobfs.control.keeping`). Raises `StartRefused`.
    """
    found = _fetch(store, f"/{what}", json.dumps({"names": names}), PATIENCE)
    results = found.get("results")
    if not isinstance(results, list):
        raise errors.StartRefused(f"the daemon of {store} answers nonsense")
    return results


@contextmanager
def loading(store: Path, names: Sequence[str]) -> Iterator[Iterator[dict[str, Any]]]:
    """Has paths in the mount loaded: what the node says of them, as it comes (`blobfs.control.load_stream`).

    Leaving it cancels what has not ended. It and the lines raise `StartRefused` if the node does not answer,
    or ends before it has told what came of every name.
    """
    connection = _SocketConnection(store, SILENCE)
    try:
        with _answering(store):
            connection.request("POST", "/load", json.dumps({"names": names}))
            answer = connection.getresponse()
            if answer.status != http.HTTPStatus.OK:
                raise _refused(store, answer.status, json.loads(answer.read()))
        yield _lines(store, answer, len(set(names)))
    finally:
        connection.close()


def _lines(store: Path, answer: http.client.HTTPResponse, left: int) -> Iterator[dict[str, Any]]:
    """Until so many names have ended: http.client cannot tell a stream that breaks off from one that ends."""
    while left:
        with _answering(store):
            found = json.loads(answer.readline() or _broken_off())
        left -= found["state"] != "loading"
        yield found


def _fetch(store: Path, path: str, body: str | None = None, timeout: float = TIMEOUT) -> dict[str, Any]:
    connection = _SocketConnection(store, timeout)
    try:
        with _answering(store):
            connection.request("GET" if body is None else "POST", path, body)
            answer = connection.getresponse()
            found = json.loads(answer.read())
    finally:
        connection.close()
    if not isinstance(found, dict):
        raise errors.StartRefused(f"the daemon of {store} answers nonsense")
    if answer.status == http.HTTPStatus.BAD_REQUEST:
        raise errors.InvalidName(str(found.get("error")))
    if answer.status != http.HTTPStatus.OK:
        raise _refused(store, answer.status, found)
    return found


def _broken_off() -> NoReturn:
    raise http.client.HTTPException("it ended before")


@contextmanager
def _answering(store: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, http.client.HTTPException) as failure:
        raise errors.StartRefused(f"the daemon of {store} does not answer: {failure}") from failure


def _refused(store: Path, status: int, found: dict[str, Any]) -> errors.StartRefused:
    return errors.StartRefused(f"the daemon of {store} answers {status}: {found.get('error')}")
