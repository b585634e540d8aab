"""What HTTP asks of a static file (RFC 9110, sections 13 and 14): preconditions and ranges. Pure.

Rules. GET alone knows ranges, and of those one `bytes` range; anything else that may be ignored is
ignored and the whole file answered, which is always right. A date is too coarse to tell two
versions of a replaceable file apart (`cp -p`), so If-Range takes a date for immutable files only.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus

from starlette.datastructures import Headers

# Eighteen digits are an exabyte; a longer number is no real range, and int() has limits of its own.
_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*\Z", re.IGNORECASE)
_ETAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')


@dataclass(frozen=True, slots=True)
class Version:
    """The version of a file that is about to be served."""

    etag: str | None
    """Strong, with its quotes; None: there is no telling."""
    modified: int | None
    """Whole seconds since the epoch, as Last-Modified has them; None, likewise."""
    size: int
    immutable: bool
    """Its URL will never mean other bytes."""

    @property
    def last_modified(self) -> str | None:
        return None if self.modified is None else formatdate(self.modified, usegmt=True)


@dataclass(frozen=True, slots=True)
class Answer:
    """The status, and which bytes of the file follow: ``start`` to before ``stop``."""

    status: HTTPStatus
    start: int = 0
    stop: int = 0


def choose_answer(method: str, headers: Headers, version: Version) -> Answer:
    """In the order of precedence of RFC 9110, 13.2.2. `method` is GET or HEAD."""
    if not _may_go_on(headers, version):
        return Answer(HTTPStatus.PRECONDITION_FAILED)
    if _is_known_already(headers, version):
        return Answer(HTTPStatus.NOT_MODIFIED)
    wanted = headers.getlist("range")
    if method == "GET" and len(wanted) == 1 and _range_applies(headers, version):
        return parse_range(wanted[0], version.size)
    return Answer(HTTPStatus.OK, 0, version.size)


def parse_range(text: str, size: int) -> Answer:
    """The answer to ``Range: text`` for a file of `size` bytes: 206, 416, or 200 for what is ignored."""
    match = _RANGE.match(text.strip(" \t"))
    whole = Answer(HTTPStatus.OK, 0, size)
    if match is None:
        return whole
    first, last = match.groups()
    # 1. bytes=-n, the last n bytes. Of an empty file that is all of it, and there is no 206 to say so.
    if not first:
        if not last:
            return whole
        if int(last) == 0:
            return Answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
        return Answer(HTTPStatus.PARTIAL_CONTENT, max(0, size - int(last)), size) if size else whole
    # 2. bytes=a-b and bytes=a-, where a > b is no range at all.
    start = int(first)
    stop = min(size, int(last) + 1) if last else size
    if last and int(last) < start:
        return whole
    if start >= size:
        return Answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
    return Answer(HTTPStatus.PARTIAL_CONTENT, start, stop)


def _may_go_on(headers: Headers, version: Version) -> bool:
    """If-Match, or without it If-Unmodified-Since."""
    match = _joined(headers, "if-match")
    if match is not None:
        return match.strip() == "*" or version.etag in _strong_tags(match)
    since = _seconds(headers.get("if-unmodified-since"))
    return since is None or version.modified is None or version.modified <= since


def _is_known_already(headers: Headers, version: Version) -> bool:
    """If-None-Match, or without it If-Modified-Since."""
    match = _joined(headers, "if-none-match")
    if match is not None:
        return match.strip() == "*" or version.etag in (tag for _, tag in _ETAG.findall(match))
    since = _seconds(headers.get("if-modified-since"))
    return since is not None and version.modified is not None and version.modified <= since


def _range_applies(headers: Headers, version: Version) -> bool:
    """If-Range: the range is meant for this version only."""
    text = headers.get("if-range")
    if text is None:
        return True
    if '"' in text:
        return text.strip() == version.etag
    return version.immutable and version.modified is not None and _seconds(text) == version.modified


def _joined(headers: Headers, name: str) -> str | None:
    """A list may come in several lines."""
    return ", ".join(headers.getlist(name)) if name in headers else None


def _strong_tags(text: str) -> list[str]:
    return [tag for weak, tag in _ETAG.findall(text) if not weak]


def _seconds(text: str | None) -> int | None:
    """Seconds since the epoch; None for what is no date, which counts as no header."""
    if text is None:
        return None
    try:
        moment: datetime = parsedate_to_datetime(text)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, TypeError, OverflowError):
        return None
