"""Which URL paths mean a file of the share, and what kind of file (docs/formats.md). Pure.

Rules. A path is cut at its slashes first and percent-decoded once after, so nothing encoded can
become a separator. What is left must be the bytes of names: no empty component, no ``.`` or ``..``,
no NUL, valid UTF-8. Below ``.blobfs/`` only what the layout names is served.
"""

import enum
import re
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

from blobfs.directory_bundles import LIST_NAME
from blobfs.model import MAX_NAME_BYTES, RESERVED_PREFIX
from blobfs.record import LOG_NAME

MAX_PATH_BYTES = MAX_NAME_BYTES + len(f"{RESERVED_PREFIX}/names//{LIST_NAME}")
"""No path in the layout is longer."""

_ORIGIN = re.compile(rb"https?://[^/?]*", re.IGNORECASE)
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_BLOB_ID = re.compile(rb"[0-9a-f]{64}\Z")
_RESERVED = RESERVED_PREFIX.encode()
_LOG_NAME = LOG_NAME.encode()
_LIST_NAME = LIST_NAME.encode()


class Kind(enum.Enum):
    """What a file is, and with it how long an answer may be kept and what type it has."""

    BLOB = "blob"
    TREE = "tree"
    BUNDLE = "bundle"
    PARTS = "parts"
    """Which parts of a blob are here: no file, and only a live node answers (`blobfs.shares.parts`)."""
    RECORD = "record"
    LOG = "log"
    BUNDLES = "bundles"
    NAMED = "named"

    @property
    def immutable(self) -> bool:
        return self in (Kind.BLOB, Kind.TREE, Kind.BUNDLE)


@dataclass(frozen=True, slots=True)
class SharePath:
    """A path that may be opened below the share: its components and what is to be found there."""

    components: tuple[bytes, ...]
    kind: Kind

    @property
    def last(self) -> str:
        return self.components[-1].decode("utf-8")

    def __str__(self) -> str:
        return repr(b"/".join(self.components).decode("utf-8"))


class Refused(Exception):
    """There is no file to answer with; `status` is the answer."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status)
        self.status = status


def strip_origin(raw_path: bytes) -> bytes:
    """The path of a request target, which may be a whole URL (RFC 9112, 3.2.2)."""
    return raw_path if raw_path.startswith(b"/") else _ORIGIN.sub(b"", raw_path, count=1) or b"/"


def parse_path(raw_path: bytes) -> SharePath:
    """`raw_path` as it came, without its query. Raises `Refused`."""
    head, *parts = raw_path.split(b"/")
    if head or not parts or _BAD_ESCAPE.search(raw_path):
        raise Refused(HTTPStatus.BAD_REQUEST)
    components = tuple(map(_parse_component, parts))
    if sum(map(len, components)) + len(components) - 1 > MAX_PATH_BYTES:
        raise Refused(HTTPStatus.NOT_FOUND)
    kind = _kind(components)
    if kind is None:
        raise Refused(HTTPStatus.NOT_FOUND)
    return SharePath(components, kind)


def _parse_component(part: bytes) -> bytes:
    component = unquote_to_bytes(part)
    if component in (b"", b".", b"..") or b"/" in component or b"\0" in component:
        raise Refused(HTTPStatus.NOT_FOUND)
    try:
        component.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(HTTPStatus.BAD_REQUEST) from None
    return component


def _kind(components: tuple[bytes, ...]) -> Kind | None:
    match components:
        case (b".blobfs", b"blobs", blob) if _BLOB_ID.match(blob):
            return Kind.BLOB
        case (b".blobfs", b"trees", blob) if _BLOB_ID.match(blob):
            return Kind.TREE
        case (b".blobfs", b"bundles", package) if _BLOB_ID.match(package):
            return Kind.BUNDLE
        case (b".blobfs", b"parts", blob) if _BLOB_ID.match(blob):
            return Kind.PARTS
        case (b".blobfs", b"names", *directory, last) if last == _LOG_NAME and not _any_reserved(directory):
            return Kind.LOG
        case (b".blobfs", b"names", *directory, last) if last == _LIST_NAME and not _any_reserved(directory):
            return Kind.BUNDLES
        case (b".blobfs", b"names", *name) if name and not _any_reserved(name):
            return Kind.RECORD
        case name if not _any_reserved(name):
            return Kind.NAMED
    return None


def _any_reserved(components: tuple[bytes, ...] | list[bytes]) -> bool:
    return any(component.startswith(_RESERVED) for component in components)
