"""Where a server listens: ``HOST:PORT``, ``[ADDRESS]:PORT`` or ``unix:PATH``, and the sockets for it.

Peers that neither read nor answer are dropped by the kernel after `STALLED_PEER_MS`.
"""

import errno
import os
import socket
import stat

from blobfs.config.addresses import parse_address
from blobfs.config.settings import PASSED_SOCKET
from blobfs.errors import StartRefused
from blobfs.shares.inherited import take_listener

PRIVATE_MODE = 0o600
"""Of a unix socket for this user alone."""

SHARED_MODE = 0o660
"""Of a unix socket for a web server in front, which is another user: for this process's group, or in a set-
gid directory for the directory's."""

BACKLOG = 1024
"""Connections the kernel queues: while a server that died is restarted, nobody is refused."""

STALLED_PEER_MS = 60_000
"""Sent bytes may stay unacknowledged, or a peer's window shut, for this long (nginx: send_timeout)."""


def bind_share_listener(text: str) -> socket.socket:
    """What a share is served on, which may be systemd's. Raises as `bind_listener`."""
    return take_listener() if text == PASSED_SOCKET else bind_listener(text, SHARED_MODE)


def bind_listener(text: str, mode: int = PRIVATE_MODE) -> socket.socket:
    """A listening socket on ``HOST:PORT``, ``[ADDRESS]:PORT`` or ``unix:PATH``; port 0 is a free one.

    `mode` is for a unix socket, which is made anew where a killed server left one.

    Raises `Invalid` for a text that is no address, `StartRefused` for one that cannot be had.
    """
    if text.startswith("unix:"):
        return _bind_unix(text.removeprefix("unix:"), mode)
    host, port = parse_address(text)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise StartRefused(f"cannot listen on {text}: {_reason(error)}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Every accepted connection inherits it.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_PEER_MS)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise StartRefused(f"cannot listen on {text}: {_reason(error)}") from error
    return listener


def shown_address(listener: socket.socket) -> str:
    """Where it listens, in the form `bind_listener` takes."""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"unix:{name}"
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bind_unix(path: str, mode: int) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale_socket(path)
        listener.bind(path)
        # Until listen() every connect is refused, so nobody gets in before the mode is right.
        os.chmod(path, mode)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise StartRefused(f"cannot listen on unix:{path}: {_reason(error)}") from error
    return listener


def _remove_stale_socket(path: str) -> None:
    """Removes what a killed server left. A socket that answers stays, and so does what is no socket."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        if probe.connect_ex(path) == errno.ECONNREFUSED:
            os.unlink(path)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
