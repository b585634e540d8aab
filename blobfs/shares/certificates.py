"""Why a server's certificate is not accepted, in words that an operator can act on. Pure.

What is quoted from the certificate nobody has vouched for: it is cut short and made printable.
"""

import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

Facts = Mapping[str, Any]
"""Of one certificate, as `ssl.SSLSocket.getpeercert` gives them."""

_HAS_EXPIRED, _NOT_YET_VALID, _REVOKED = 10, 9, 23
_SELF_SIGNED = 18
_NOT_TRUSTED = frozenset({2, 19, 20, 21, 27})
_WRONG_HOST = frozenset({62, 64})
"""X509_V_ERR_..., from OpenSSL's x509_vfy.h."""

_MOST_NAMES = 3
_MOST_LETTERS = 80


def refusal(code: int, message: str, host: str, chain: Sequence[Facts], now: float) -> str:
    """`code` and `message` are OpenSSL's, `chain` is what the server sent, its own certificate first; may be
    empty."""
    if code == _HAS_EXPIRED:
        return _expired(chain, now)
    if code == _NOT_YET_VALID:
        return f"certificate is not valid before {_day(chain[0], 'notBefore')}" if chain else message
    if code == _SELF_SIGNED:
        return "certificate is self-signed, and not one that is trusted"
    if code in _NOT_TRUSTED:
        return f"certificate is issued by {_issuer(chain)}, which is not trusted"
    if code in _WRONG_HOST:
        return f"certificate is for {_names(chain)}, not {host}"
    return "certificate is revoked" if code == _REVOKED else message


def _expired(chain: Sequence[Facts], now: float) -> str:
    """Which one of them, OpenSSL does not say."""
    if chain and ssl.cert_time_to_seconds(chain[0]["notAfter"]) <= now:
        return f"certificate expired on {_day(chain[0], 'notAfter')}"
    return "certificate of its authority has expired"


def _day(facts: Facts, key: str) -> str:
    return f"{datetime.fromtimestamp(ssl.cert_time_to_seconds(facts[key]), UTC):%Y-%m-%d}"


def _issuer(chain: Sequence[Facts]) -> str:
    """Of the last one that was sent: that is whom we would have to know."""
    parts = [pair for part in (chain[-1].get("issuer", ()) if chain else ()) for pair in part]
    by_key = dict(parts)
    found = by_key.get("commonName") or ", ".join(str(value) for _, value in parts)
    return _printable(found) if found else "an authority"


def _names(chain: Sequence[Facts]) -> str:
    names = [str(value) for _, value in (chain[0].get("subjectAltName", ()) if chain else ())]
    if not names:
        return "another host" if not chain else "no host"
    more = " and others" if len(names) > _MOST_NAMES else ""
    return _printable(", ".join(names[:_MOST_NAMES])) + more


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)[:_MOST_LETTERS]
