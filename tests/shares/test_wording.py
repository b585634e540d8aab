"""What failures are called."""

import errno
import socket
import ssl

import httpx
import pytest

from blobfs.model import Kind
from blobfs.shares.wording import NoAnswer, described


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


def connecting(cause: BaseException) -> Exception:
    return caused(httpx.ConnectError("x"), cause)


def reading(cause: BaseException) -> Exception:
    return caused(httpx.ReadError("x"), cause)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (httpx.ConnectTimeout("x"), Kind.CONNECT_TIMEOUT, "connect timeout"),
        (NoAnswer("no answer in 3 s"), Kind.NO_ANSWER, "no answer in 3 s"),
        (httpx.ReadTimeout("x"), Kind.STALLED, "stalled"),
        (httpx.WriteTimeout("x"), Kind.STALLED, "stalled"),
        (
            connecting(ConnectionRefusedError(errno.ECONNREFUSED, "x")),
            Kind.CONNECT_REFUSED,
            "connection refused",
        ),
        (connecting(OSError(errno.ENETUNREACH, "x")), Kind.NO_ROUTE, "network unreachable"),
        (connecting(OSError(errno.EACCES, "x")), Kind.NO_ROUTE, "Permission denied"),
        (connecting(OSError(errno.EMFILE, "x")), Kind.LOCAL, "Too many open files"),
        (connecting(OSError(errno.ETIMEDOUT, "x")), Kind.CONNECT_TIMEOUT, "connect timeout"),
        (reading(ConnectionResetError(errno.ECONNRESET, "x")), Kind.RESET, "reset"),
        (reading(OSError(errno.EIO, "x")), Kind.RESET, "Input/output error"),
        (reading(OSError(errno.ETIMEDOUT, "x")), Kind.RESET, "Connection timed out"),
        (connecting(socket.gaierror(-2, "Name or service not known")), Kind.DNS, "DNS: Name or service"),
        (connecting(ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] x")), Kind.TLS, "TLS: "),
        (connecting(ssl.SSLEOFError(8, "EOF occurred")), Kind.CLOSED, "closed before it answered"),
        (
            httpx.RemoteProtocolError("Server disconnected without sending a response."),
            Kind.CLOSED,
            "closed before it answered",
        ),
        (
            httpx.RemoteProtocolError("peer closed connection without sending complete message body"),
            Kind.SHORT_BODY,
            "short body",
        ),
        (httpx.RemoteProtocolError("illegal status line"), Kind.NOT_HTTP, "not HTTP: illegal status line"),
        (httpx.ReadError("odd"), Kind.RESET, "ReadError: odd"),
        (httpx.ConnectError("odd"), Kind.NO_ROUTE, "ConnectError: odd"),
    ],
)
def test_the_most_telling_cause_is_named(error: Exception, kind: Kind, words: str) -> None:
    """The chain of causes is searched for what an operator understands."""
    found, detail = described(error)
    assert found is kind
    assert detail.startswith(words)


def test_causes_in_groups_are_found() -> None:
    """trio reports failed connection attempts as a group."""
    group = ExceptionGroup("all failed", [ConnectionRefusedError(errno.ECONNREFUSED, "x")])
    error = connecting(caused(OSError("all failed"), group))
    assert described(error) == (Kind.CONNECT_REFUSED, "connection refused")
