"""What a failed exchange is called: its kind, and short words for `Attempt.detail`. Pure.

httpx says "all connection attempts failed"; the operator wants "connection refused". So the chain of causes
is searched for the first that tells.
"""

import errno
import os
import socket
import ssl
from collections.abc import Iterator

import httpx

from blobfs.model import Kind

_BY_ERRNO = {
    errno.ECONNREFUSED: (Kind.CONNECT_REFUSED, "connection refused"),
    errno.ECONNRESET: (Kind.RESET, "reset"),
    errno.EPIPE: (Kind.RESET, "reset"),
    errno.EHOSTUNREACH: (Kind.NO_ROUTE, "no route to host"),
    errno.ENETUNREACH: (Kind.NO_ROUTE, "network unreachable"),
}

_LOCAL = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
"""Says nothing about the share."""

_CLOSED = "closed before it answered"

_TLS_REASONS = {
    "WRONG_VERSION_NUMBER": "the server does not speak it",
    "UNSUPPORTED_PROTOCOL": "the server offers no version from 1.2 on",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the server takes none of the versions from 1.2 on",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it demands a client certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not trust the client certificate's authority",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it says that the client certificate has expired",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not accept the client certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it does not accept the client certificate",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "it does not accept the client certificate",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it refused the handshake: it may demand a client certificate",
    "TLSV1_UNRECOGNIZED_NAME": "it has no certificate for this host name",
}
"""Why handshakes fail, by OpenSSL's word; alerts are what the server said."""


class NoAnswer(httpx.ReadTimeout):
    """The request was sent, and no head of an answer came in time."""


def described(error: BaseException) -> tuple[Kind, str]:
    """The most telling cause of a transport error, in one short line."""
    if isinstance(error, httpx.ConnectTimeout):
        return Kind.CONNECT_TIMEOUT, "connect timeout"
    if isinstance(error, NoAnswer):
        return Kind.NO_ANSWER, str(error)
    if isinstance(error, httpx.ProxyError):
        return Kind.PROXY, str(error)[:200]
    if isinstance(error, httpx.TimeoutException):
        return Kind.STALLED, "stalled"
    is_connecting = isinstance(error, httpx.ConnectError)
    for cause in _causes(error):
        found = _described_cause(cause, is_connecting)
        if found is not None:
            return found
    if isinstance(error, httpx.RemoteProtocolError):
        return _described_protocol(str(error))
    kind = Kind.NO_ROUTE if is_connecting else Kind.RESET
    return kind, f"{type(error).__name__}: {error}"[:200]


def _described_cause(cause: BaseException, is_connecting: bool) -> tuple[Kind, str] | None:
    if isinstance(cause, ssl.SSLError):
        return _described_tls(cause)
    if isinstance(cause, socket.gaierror):
        return Kind.DNS, f"DNS: {cause.strerror}"
    if isinstance(cause, UnicodeError):
        return Kind.DNS, "DNS: not a host name"
    if not isinstance(cause, OSError) or cause.errno is None:
        return None
    if is_connecting and cause.errno == errno.ETIMEDOUT:
        return Kind.CONNECT_TIMEOUT, "connect timeout"
    usual = Kind.NO_ROUTE if is_connecting else Kind.RESET
    kind = Kind.LOCAL if cause.errno in _LOCAL else usual
    return _BY_ERRNO.get(cause.errno) or (kind, os.strerror(cause.errno))


def _described_tls(cause: ssl.SSLError) -> tuple[Kind, str]:
    if isinstance(cause, ssl.SSLCertVerificationError):
        words: str | None = getattr(cause, "verify_message", None)  # `tls` raises its own, in better words
        return Kind.TLS, f"TLS: {words or cause.strerror}"
    if isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return Kind.CLOSED, _CLOSED  # a server that is stopping, not one that cannot
    reason: str | None = getattr(cause, "reason", None)  # set by the ssl module only, not by its class
    said = (reason or str(cause)).lower().replace("_", " ")
    return Kind.TLS, f"TLS: {_TLS_REASONS.get(reason or '', said)}"


def _described_protocol(text: str) -> tuple[Kind, str]:
    if "without sending a response" in text:
        return Kind.CLOSED, _CLOSED
    if "without sending complete message body" in text:
        return Kind.SHORT_BODY, "short body"
    return Kind.NOT_HTTP, f"not HTTP: {text}"[:200]


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what is in its groups, and what caused it, each once."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        cause = waiting.pop(0)
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        if isinstance(cause, BaseExceptionGroup):
            waiting.extend(cause.exceptions)
        waiting.append(cause.__cause__ or cause.__context__)
