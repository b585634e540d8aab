"""How an answer's status and headers are read. Pure; what each row means to a user is in `sync.answers`.

=====================  ======================================================
404, 410               absent, the only two ways to say so
401, 403               refused: every share that says so is one that is there and answers; EACCES when all do
408, 425, 429, 503     busy, perhaps with Retry-After
any other 5xx          server-error
301, 302, 303, 307,    redirected; those that can be followed are not seen
308                    here
anything else unasked  bad-status: it is no share that answers like this
=====================  ======================================================

A body is trusted as far as its framing: a 206 must name exactly the range that was asked for, a 200 holds the
whole from byte 0, lengths and totals must agree with what is known.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from blobfs.model import Kind

ABSENT_STATUS = frozenset({404, 410})
REFUSED_STATUS = frozenset({401, 403})
BUSY_STATUS = frozenset({408, 425, 429, 503})
REDIRECT_STATUS = frozenset({301, 302, 303, 307, 308})

_KINDS = (
    (ABSENT_STATUS, Kind.ABSENT),
    (REFUSED_STATUS, Kind.REFUSED),
    (BUSY_STATUS, Kind.BUSY),
    (REDIRECT_STATUS, Kind.REDIRECTED),
)

MAX_RETRY_AFTER = 3600.0
"""Seconds; a share that asks for more is asked again after an hour all the same."""

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)\Z")
_LENGTH = re.compile(r"\d{1,18}\Z")

Complaint = tuple[Kind, str]


@dataclass(frozen=True, slots=True)
class Stretch:
    """`length` bytes from `offset` of something of `size` bytes, if that is known."""

    offset: int
    length: int
    size: int | None = None

    def range_header(self) -> str:
        return f"bytes={self.offset}-{self.offset + self.length - 1}"


def kind_of_status(status: int) -> Kind:
    """What a status means that is not the success that was asked for."""
    for statuses, kind in _KINDS:
        if status in statuses:
            return kind
    return Kind.SERVER_ERROR if status >= 500 else Kind.BAD_STATUS


def status_words(status: int, shown: str | None) -> str:
    """For people. `shown`: as what kind of credentials were sent, if any were."""
    text = f"HTTP {status}"
    if status == 401:
        return f"{text}: its {shown} is not accepted" if shown else f"{text}: it wants a token or a password"
    return f"{text}: its {shown} gives no right to it" if status == 403 and shown else text


def certificate_complaint(page: bytes) -> Complaint | None:
    """What nginx means by a 400 on TLS: it has let the handshake pass, and refuses every request."""
    if b"No required SSL certificate" in page:
        return Kind.TLS, "TLS: it demands a client certificate (HTTP 400)"
    if b"The SSL certificate error" in page:
        return Kind.TLS, "TLS: it does not accept the client certificate (HTTP 400)"
    return None


def content_length(headers: httpx.Headers) -> int | None:
    text = headers.get("content-length", "")
    return int(text) if _LENGTH.match(text) else None


def total_size(headers: httpx.Headers) -> int | None:
    """The size of the whole that a Content-Range tells."""
    match = _CONTENT_RANGE.match(headers.get("content-range", ""))
    return None if match is None or match[3] == "*" else int(match[3])


def retry_after(headers: httpx.Headers, now: datetime) -> float | None:
    """Seconds from `now`, whether the share gave seconds or a date; None when it gave neither."""
    text = headers.get("retry-after", "").strip()
    if _LENGTH.match(text):
        return min(float(text), MAX_RETRY_AFTER)
    moment = http_date(text)
    return None if moment is None else min(max((moment - now).total_seconds(), 0.0), MAX_RETRY_AFTER)


def http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def encoding_complaint(headers: httpx.Headers) -> Complaint | None:
    """Bytes that were compressed on the way are not the bytes that were asked for."""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    return None if encoding in ("", "identity") else (Kind.ENCODED, f"content encoding {encoding[:40]}")


def stretch_complaint(status: int, headers: httpx.Headers, stretch: Stretch) -> Complaint | None:
    """What is wrong with an answer (200, 206 or 416) to a request for `stretch`; None if it is usable."""
    if status == 416:
        return Kind.WRONG_RANGE, "shorter than its record says (HTTP 416)"
    if status == 206:
        return _partial_complaint(headers, stretch)
    return _whole_complaint(headers, stretch)


def _partial_complaint(headers: httpx.Headers, stretch: Stretch) -> Complaint | None:
    text = headers.get("content-range", "")
    match = _CONTENT_RANGE.match(text)
    if match is None:
        return Kind.WRONG_RANGE, f"HTTP 206 without a proper Content-Range: {text[:60]!r}"
    if match[3] != "*" and stretch.size not in (None, int(match[3])):
        return Kind.WRONG_SIZE, f"has {match[3]} bytes, its record says {stretch.size}"
    if (int(match[1]), int(match[2])) != (stretch.offset, stretch.offset + stretch.length - 1):
        return Kind.WRONG_RANGE, f"asked for {stretch.range_header()}, got {text[:60]!r}"
    if content_length(headers) not in (None, stretch.length):
        return Kind.WRONG_RANGE, f"Content-Length {content_length(headers)} for a range of {stretch.length}"
    return None


def tail_complaint(headers: httpx.Headers, offset: int) -> Complaint | None:
    """What is wrong with a 206 to a request for everything from `offset` on."""
    text = headers.get("content-range", "")
    match = _CONTENT_RANGE.match(text)
    if match is None or int(match[1]) != offset:
        return Kind.WRONG_RANGE, f"asked for bytes={offset}-, got {text[:60]!r}"
    return None


def is_whole(headers: httpx.Headers) -> bool:
    """Whether the part that a 206 brings is all there is."""
    match = _CONTENT_RANGE.match(headers.get("content-range", ""))
    return match is not None and match[1] == "0" and match[3] == str(int(match[2]) + 1)


def _whole_complaint(headers: httpx.Headers, stretch: Stretch) -> Complaint | None:
    length = content_length(headers)
    if length is not None and length != (length if stretch.size is None else stretch.size):
        if is_page(headers):
            return Kind.NOT_A_SHARE, "not a share's answer: an HTML page"
        return Kind.WRONG_SIZE, f"has {length} bytes, its record says {stretch.size}"
    if stretch.offset:
        return Kind.NO_RANGES, "the server ignores Range"
    if length is not None and length < stretch.length:
        return Kind.WRONG_SIZE, f"has {length} bytes, {stretch.length} were asked for"
    return None


def is_page(headers: httpx.Headers) -> bool:
    """A web page rather than a file: some portal or error page that comes with 200.

    A file server says that it knows ranges even where it takes the content for HTML.
    """
    kind: str = headers.get("content-type", "")
    return kind.lower().startswith(("text/html", "application/xhtml")) and "accept-ranges" not in headers
