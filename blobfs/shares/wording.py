"""What a failed exchange is called: short words for `Attempt.detail`, found in the chain of causes. Pure.

httpx says "all connection attempts failed"; the operator wants "connection refused".
"""

import errno
import os
import socket
import ssl
from collections.abc import Iterator

import httpx

_ERRNO_WORDS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.EHOSTUNREACH: "no route to host",
    errno.ENETUNREACH: "network unreachable",
    errno.ETIMEDOUT: "connect timeout",
}


def words_for(error: BaseException) -> str:
    """The most telling cause of a transport error, in one short line."""
    if isinstance(error, httpx.ConnectTimeout):
        return "connect timeout"
    if isinstance(error, httpx.TimeoutException):
        return "stalled"
    for cause in _causes(error):
        words = _words_for_cause(cause)
        if words is not None:
            return words
    if isinstance(error, httpx.RemoteProtocolError):
        return _words_for_protocol(str(error))
    return f"{type(error).__name__}: {error}"[:200]


def _words_for_cause(cause: BaseException) -> str | None:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"TLS: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        reason: str | None = getattr(cause, "reason", None)  # set by the ssl module only, not by its class
        return f"TLS: {(reason or str(cause)).lower().replace('_', ' ')}"
    if isinstance(cause, socket.gaierror):
        return f"DNS: {cause.strerror}"
    if isinstance(cause, UnicodeError):
        return "DNS: not a host name"
    if isinstance(cause, OSError) and cause.errno is not None:
        return _ERRNO_WORDS.get(cause.errno) or os.strerror(cause.errno)
    return None


def _words_for_protocol(text: str) -> str:
    if "without sending a response" in text:
        return "closed before it answered"
    if "without sending complete message body" in text:
        return "short body"
    return f"not HTTP: {text}"[:200]


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
