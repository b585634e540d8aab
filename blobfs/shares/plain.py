"""Files of a plain share: which version one is, and whether an answer is still of that version. Pure.

Nothing on a plain share can be verified. What can be done is never to mix two versions: the ETag (or the
date) that was seen first is sent along as If-Range, and every answer that shows another one, or another size,
is CHANGED.
"""

from dataclasses import dataclass

import httpx

from blobfs.model import Kind
from blobfs.shares.answer_rules import Complaint, content_length, http_date, total_size

PAGE_SUFFIXES = (".html", ".htm", ".xhtml")
"""Where a web page is no surprise."""


@dataclass(frozen=True, slots=True)
class PlainFile:
    """One version of a plain share's file."""

    size: int
    etag: str | None
    last_modified_ns: int | None
    validator: str | None
    """What If-Range is sent with: a strong ETag, else the Last-Modified as the share wrote it."""


def plain_file(size: int, headers: httpx.Headers) -> PlainFile:
    """The version that an answer's headers describe."""
    etag = headers.get("etag")
    date = headers.get("last-modified")
    strong = etag if etag is not None and not etag.startswith("W/") else None
    return PlainFile(
        size, etag, _nanoseconds(date), strong or (date if _nanoseconds(date) is not None else None)
    )


def version_complaint(status: int, headers: httpx.Headers, pinned: PlainFile) -> Complaint | None:
    """CHANGED if an answer with a body, or 416, is not of the pinned version."""
    if status not in (200, 206, 416):
        return None
    if status == 416:
        return Kind.CHANGED, "the file is shorter now (HTTP 416)"
    size = content_length(headers) if status == 200 else total_size(headers)
    if size is not None and size != pinned.size:
        return Kind.CHANGED, f"the file has {size} bytes now, it had {pinned.size}"
    now = plain_file(pinned.size, headers)
    if now.etag is not None and now.etag != pinned.etag:
        return Kind.CHANGED, f"the file's ETag is {now.etag[:60]} now"
    if now.last_modified_ns is not None and now.last_modified_ns != pinned.last_modified_ns:
        return Kind.CHANGED, "the file's Last-Modified is another one now"
    # A whole file in place of a range says "changed", unless it says what it is and that is the same
    # (a server that does not know ranges).
    if status == 200 and pinned.validator is not None and now.validator != pinned.validator:
        return Kind.CHANGED, "the whole file was sent, without its version"
    return None


def _nanoseconds(date: str | None) -> int | None:
    moment = http_date(date or "")
    return None if moment is None else int(moment.timestamp()) * 1_000_000_000
