"""Asking a running node, from another process, without touching its mount. Its store holds the socket.

Every wait is bounded. A daemon that is stopped, which would never answer, is told from one that is busy after
a second.
"""

import errno
import http.client
import json
import os
import select
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

from blobfs import errors
from blobfs.control.liveness import is_stopped, pid_behind, reason_for_silence

TIMEOUT = 5.0
"""Seconds for one answer."""
RELOAD_PATIENCE = 30.0
"""Seconds for reading settings and opening shares: names of hosts are not looked up, files are read."""
PATIENCE = 600.0
"""Seconds for what may have to touch a million files."""
SILENCE = 20.0
"""Seconds without a line from a load: they come a few times a second, unless the node hangs."""
LOOK = 1.0
"""Seconds between two looks at whether a silent daemon is stopped."""


class _Socket(socket.socket):
    """Waits for bytes no longer than they can come."""

    def __init__(self, patience: float) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM)
        self.settimeout(patience)
        self._patience = patience

    def recv_into(self, *args: Any, **named: Any) -> int:
        end = time.monotonic() + self._patience
        waiting = select.poll()
        waiting.register(self, select.POLLIN)
        pid = pid_behind(self)
        while not waiting.poll(max(min(LOOK, end - time.monotonic()), 0) * 1000):
            if time.monotonic() >= end or (pid is not None and is_stopped(pid)):
                raise TimeoutError
        return super().recv_into(*args, **named)


class _SocketConnection(http.client.HTTPConnection):
    """`pid` is the daemon's, as far as it is known."""

    def __init__(self, store: Path, timeout: float = TIMEOUT) -> None:
        super().__init__("localhost")
        self.store = store
        self.pid: int | None = None
        self.patience = timeout

    def connect(self) -> None:
        self.sock = _Socket(self.patience)
        # Through a descriptor: a socket's path has at most 107 bytes, a store's has not. No link is followed:
        # whoever owns the store could have root talk to somebody else.
        there = os.open(self.store / "control", os.O_PATH | os.O_NOFOLLOW)
        try:
            self.sock.connect(f"/proc/self/fd/{there}")
        finally:
            os.close(there)
        self.pid = pid_behind(self.sock)


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


def reload(store: Path) -> dict[str, Any]:
    """Has the settings read again: what changed, and what needs a restart. Raises `StartRefused`, also where
    they are refused."""
    try:
        return _fetch(store, "/reload", "", RELOAD_PATIENCE)
    except errors.InvalidName as refused:
        raise errors.StartRefused(str(refused)) from None


@contextmanager
def loading(store: Path, names: Sequence[str]) -> Iterator[Iterator[dict[str, Any]]]:
    """Has paths in the mount loaded: what the node says of them, as it comes (`blobfs.control.load_stream`).

    Leaving it cancels what has not ended. It and the lines raise `StartRefused` if the node does not answer,
    or ends before it has told what came of every name.
    """
    connection = _SocketConnection(store, SILENCE)
    try:
        with _answering(connection):
            connection.request("POST", "/load", json.dumps({"names": names}))
            answer = connection.getresponse()
            if answer.status != http.HTTPStatus.OK:
                raise _refused(store, answer.status, json.loads(answer.read()))
        yield _lines(connection, answer, len(set(names)))
    finally:
        connection.close()


def _lines(
    connection: _SocketConnection, answer: http.client.HTTPResponse, left: int
) -> Iterator[dict[str, Any]]:
    """Until so many names have ended: http.client cannot tell a stream that breaks off from one that ends."""
    while left:
        with _answering(connection):
            found = json.loads(answer.readline() or _broken_off())
        left -= found["state"] != "loading"
        yield found


def _fetch(store: Path, path: str, body: str | None = None, timeout: float = TIMEOUT) -> dict[str, Any]:
    connection = _SocketConnection(store, timeout)
    try:
        with _answering(connection):
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
def _answering(connection: _SocketConnection) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, RecursionError, http.client.HTTPException) as failure:
        who = f"the daemon of {connection.store}" + (f" (pid {connection.pid})" if connection.pid else "")
        raise errors.StartRefused(f"{who} does not answer: {_reason(connection, failure)}") from failure


def _reason(connection: _SocketConnection, failure: Exception) -> str:
    number = failure.errno if isinstance(failure, OSError) else None
    if number in (errno.ENOENT, errno.ECONNREFUSED):
        return "it does not run"
    if number == errno.EACCES:
        return "its control socket is for its user, and for the group in control.group"
    silence = None if connection.pid is None else reason_for_silence(connection.pid)
    if silence is not None or not isinstance(failure, TimeoutError):
        return silence or str(failure)
    return f"it is busy, or hangs; nothing came for {connection.patience:g} s"


def _refused(store: Path, status: int, found: dict[str, Any]) -> errors.StartRefused:
    return errors.StartRefused(f"the daemon of {store} answers {status}: {found.get('error')}")
