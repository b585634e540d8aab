"""What failures are called."""

import errno
import socket
import ssl

import httpx
import pytest

from blobfs.shares.wording import words_for


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (httpx.ConnectTimeout("x"), "connect timeout"),
        (httpx.ReadTimeout("x"), "stalled"),
        (httpx.WriteTimeout("x"), "stalled"),
        (
            caused(httpx.ConnectError("x"), ConnectionRefusedError(errno.ECONNREFUSED, "x")),
            "connection refused",
        ),
        (caused(httpx.ConnectError("x"), OSError(errno.ENETUNREACH, "x")), "network unreachable"),
        (caused(httpx.ReadError("x"), ConnectionResetError(errno.ECONNRESET, "x")), "reset"),
        (caused(httpx.ReadError("x"), OSError(errno.EIO, "x")), "Input/output error"),
        (
            caused(httpx.ConnectError("x"), socket.gaierror(-2, "Name or service not known")),
            "DNS: Name or service",
        ),
        (caused(httpx.ConnectError("x"), ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] x")), "TLS: "),
        (
            httpx.RemoteProtocolError("Server disconnected without sending a response."),
            "closed before it answered",
        ),
        (
            httpx.RemoteProtocolError("peer closed connection without sending complete message body"),
            "short body",
        ),
        (httpx.RemoteProtocolError("illegal status line"), "not HTTP: illegal status line"),
        (httpx.ReadError("odd"), "ReadError: odd"),
    ],
)
def test_the_most_telling_cause_is_named(error: Exception, words: str) -> None:
    """The chain of causes is searched for what an operator understands."""
    assert words_for(error).startswith(words)


def test_causes_in_groups_are_found() -> None:
    """trio reports failed connection attempts as a group."""
    group = ExceptionGroup("all failed", [ConnectionRefusedError(errno.ECONNREFUSED, "x")])
    assert (
        words_for(caused(httpx.ConnectError("x"), caused(OSError("all failed"), group)))
        == "connection refused"
    )
