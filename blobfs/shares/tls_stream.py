"""The TLS handshake of a connection that came in, bounded in time, with its failure in words.

trio closes a stream whose handshake fails without the alert that OpenSSL has ready for the peer, who would
then see a connection that breaks off and not, say, that a certificate was wanted of him. So the alert is
kept, for `send_alert`.
"""

import ssl
from typing import cast

import trio

HANDSHAKE_SECONDS = 10.0
"""For all of a handshake, which is one or two round trips."""

ALERT_SECONDS = 1.0
"""For a peer to take in why he is turned away."""

ServedStream = trio.SocketStream | trio.SSLStream[trio.SocketStream]

_REASONS = {
    "HTTP_REQUEST": "plain HTTP on a TLS port",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "no client certificate",
    "UNSUPPORTED_PROTOCOL": "no TLS version in common",
    "NO_SHARED_CIPHER": "no cipher in common",
    "WRONG_VERSION_NUMBER": "what came is no TLS",
    "UNEXPECTED_EOF_WHILE_READING": "the client left",
    # Alerts: what the client says of our side.
    "TLSV1_ALERT_UNKNOWN_CA": "the client does not know this server's authority",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the client says this server's certificate has expired",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the client does not accept this server's certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the client does not accept this server's certificate",
}


class HandshakeFailed(Exception):
    """No TLS with this peer; its text says why, in words of ours or OpenSSL's. `alert` is for him."""

    def __init__(self, reason: str, alert: bytes = b"") -> None:
        super().__init__(reason)
        self.alert = alert


async def shake_hands(raw: trio.SocketStream, context: ssl.SSLContext) -> trio.SSLStream[trio.SocketStream]:
    """Raises `HandshakeFailed`."""
    outgoing = _Outgoing(context)
    stream = trio.SSLStream(raw, cast(ssl.SSLContext, outgoing), server_side=True)
    try:
        with trio.fail_after(HANDSHAKE_SECONDS):
            await stream.do_handshake()
    except trio.TooSlowError:
        raise HandshakeFailed("the handshake stalled") from None
    except trio.BrokenResourceError as broken:
        raise HandshakeFailed(_reason(broken.__cause__), outgoing.bio.read()) from broken
    return stream


async def send_alert(raw: trio.SocketStream, alert: bytes) -> None:
    """And waits for the peer to leave: a socket that is closed over unread bytes resets its connection, and
    the alert might be lost."""
    try:
        with trio.move_on_after(ALERT_SECONDS):
            await raw.send_all(alert)
            await raw.send_eof()
            while await raw.receive_some():
                continue
    except trio.BrokenResourceError:
        return


class _Outgoing:
    """A context that keeps hold of what waits to be sent of the one stream that is made with it."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self.bio = ssl.MemoryBIO()

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, **terms: object) -> ssl.SSLObject:
        self.bio = outgoing
        return self._context.wrap_bio(incoming, outgoing, **terms)  # type: ignore[arg-type]  # trio's own


def _reason(cause: BaseException | None) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        reason = cause.reason or "UNEXPECTED_EOF_WHILE_READING"
        return _REASONS.get(reason, reason.lower().replace("_", " "))
    return "the client left"
