"""The values everything else speaks in: blob ids, names, attempts. Pure, and imports nothing of ours.

A name is what a blob is shared under: a path relative to the mount, components joined by ``/``,
``""`` for the root directory itself. It is held as `str`; on disk and in URLs it is UTF-8.
"""

import enum
import re
from dataclasses import dataclass, field
from typing import NewType
from urllib.parse import quote

LEAF_SIZE = 8192
"""Bytes hashed as one (docs/formats.md)."""

CHUNK_SIZE = 16 * LEAF_SIZE
"""Bytes that are present and verified together, 128 KiB."""

RESERVED_PREFIX = ".blobfs"
"""No component of a user's name starts with it: the share's own files live under it."""

MAX_COMPONENT_BYTES = 255
MAX_NAME_BYTES = 1024

BlobId = NewType("BlobId", str)
"""The Merkle root of a blob, 64 lowercase hex digits."""

Name = NewType("Name", str)
"""A valid name; only `parse_name` and `join` make one."""

ROOT = Name("")

EMPTY_BLOB = BlobId("15ec7bf0b50732b49f8228e07d24365338f9e3ab994b00af08e5a3bffe55fd8b")

_BLOB_ID = re.compile(r"[0-9a-f]{64}\Z")


class Invalid(ValueError):
    """A value from outside breaks a rule of this module; the layer that read it says what that means."""


class TooLong(Invalid):
    """A name or a component over its limit in bytes."""


def parse_blob_id(text: str) -> BlobId:
    """Raises `Invalid` unless `text` is 64 lowercase hex digits."""
    if not _BLOB_ID.match(text):
        raise Invalid(f"not a blob id: {text[:80]!r}")
    return BlobId(text)


def parse_component(raw: bytes) -> str:
    """One component of a name, as the kernel or a log hands it over. Raises `Invalid`, `TooLong`."""
    if len(raw) > MAX_COMPONENT_BYTES:
        raise TooLong(f"a name's component has {len(raw)} bytes, the limit is {MAX_COMPONENT_BYTES}")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Invalid(f"not valid UTF-8: {raw!r}") from None
    if text in ("", ".", "..") or "/" in text or "\0" in text:
        raise Invalid(f"not a name: {text!r}")
    if text.startswith(RESERVED_PREFIX):
        raise Invalid(f"names that start with {RESERVED_PREFIX} are reserved: {text!r}")
    return text


def parse_name(text: str) -> Name:
    """A whole name with at least one component. Raises `Invalid`, `TooLong`."""
    try:
        raw = text.encode("utf-8")
    except UnicodeEncodeError:  # surrogates: bytes that were no UTF-8, or JSON that lies
        raise Invalid(f"not valid UTF-8: {text[:80]!r}") from None
    if len(raw) > MAX_NAME_BYTES:
        raise TooLong(f"a name has {len(raw)} bytes, the limit is {MAX_NAME_BYTES}")
    for component in raw.split(b"/"):
        parse_component(component)
    return Name(text)


def join(directory: Name, component: str) -> Name:
    """The name of `component` (already parsed) in `directory`. Raises `TooLong`."""
    text = f"{directory}/{component}" if directory else component
    if len(text.encode("utf-8")) > MAX_NAME_BYTES:
        raise TooLong(f"a name over {MAX_NAME_BYTES} bytes")
    return Name(text)


def split(name: Name) -> tuple[Name, str]:
    """The directory a name is in, and its last component."""
    directory, _, component = name.rpartition("/")
    return Name(directory), component


def url_path(path: str) -> str:
    """Percent-encodes every byte outside RFC 3986 *unreserved* and ``/``."""
    return quote(path, safe="/")


class Outcome(enum.StrEnum):
    """What one request to one share came to; what the reader is told is made from these."""

    OK = "ok"
    ABSENT = "absent"  # the share was asked and does not have it
    UNREACHABLE = "unreachable"  # connect, reset, stall, short body, 5xx, nonsense that is no share's answer
    REFUSED = "refused"  # 401, 403
    BUSY = "busy"  # 408, 425, 429, 503
    WRONG = "wrong"  # bytes that do not match the blob id, a record that is not one
    CHANGED = "changed"  # a plain file that is not the version that was pinned


class Kind(enum.StrEnum):
    """What exactly went wrong with one request; `shares.retry_rules` has the rule for each."""

    DNS = "dns"  # the host's name was not found
    CONNECT_REFUSED = "connect-refused"
    CONNECT_TIMEOUT = "connect-timeout"  # name lookup included
    NO_ROUTE = "no-route"
    TLS = "tls"  # no certificate that is trusted, ours or its; no TLS at all
    PROXY = "proxy"  # the proxy cannot be asked, wants other credentials, or cannot get through
    CLOSED = "closed"  # the connection ended properly before an answer was whole in its head
    NO_ANSWER = "no-answer"  # connected and asked, but no head in time
    STALLED = "stalled"  # a body that brings nothing for too long
    RESET = "reset"
    SHORT_BODY = "short-body"
    LONG_BODY = "long-body"  # more than was asked for, or than its like may have
    WRONG_RANGE = "wrong-range"  # other bytes than were asked for, by its own word
    WRONG_SIZE = "wrong-size"  # another size than is known, by its own word
    NO_RANGES = "no-ranges"  # the whole where a part from the middle was asked for
    ENCODED = "encoded"  # compressed, though identity was asked for
    NOT_HTTP = "not-http"
    NOT_A_SHARE = "not-a-share"  # a portal's or an error's page with status 200
    ABSENT = "absent"  # 404, 410
    REFUSED = "refused"  # 401, 403
    BUSY = "busy"  # 408, 425, 429, 503
    SERVER_ERROR = "server-error"  # any other 5xx
    BAD_STATUS = "bad-status"  # any other
    REDIRECTED = "redirected"  # to where we do not follow, or round in a ring
    WRONG_BYTES = "wrong-bytes"  # bytes that do not match the blob id, a record that is not one
    CHANGED = "changed"  # a plain file in another version
    TOO_LATE = "too-late"  # our own bound came first
    NOT_ASKED = "not-asked"  # it failed a moment ago
    LOCAL = "local"  # this machine could not ask: out of descriptors or memory


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request to one share, as ``user.blobfs.last_error`` shows it.

    `shares.retry_rules.failed_attempt` makes it, with the outcome that its kind has.
    """

    share: str
    """The share's base URL, without credentials."""
    phase: str
    """What was asked for: record, log, tree, blob, size, bundle."""
    kind: Kind
    outcome: Outcome
    detail: str
    """What happened, in words: ``connection refused``, ``HTTP 503``, ``short body``."""
    status: int | None = None
    received: int = 0
    """Bytes of body that arrived."""
    ms: int = 0
    request: str | None = field(default=None, compare=False)
    """Whom the share was asked for (`blobfs.requests`), as the log and the share are told it too."""
