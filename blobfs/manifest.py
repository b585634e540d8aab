r"""Manifests: the text that says which files a package is made of (docs/formats.md, 13). Pure.

A manifest is an mtree(5) text in one canonical form, so that one tree has one text and thereby one id::

    #mtree
    ./bin type=dir mode=0755
    ./bin/tool type=file mode=0755 size=1234 time=1700000000.000000000 contents=<blob id>
    ./lib type=dir contents=<package id>
    ./tool type=link mode=0777 link=bin/tool

What is not canonical is no manifest: rendering what `parse_manifest` gives returns the same bytes, always.

* Entries stand in byte order of their paths as they are, not as they are escaped. So a directory comes
  before what is in it, and one look at the last component and at the parent judges a whole path.
* A time is the second before it and nanoseconds from there: -1.5 s is ``-2.500000000``.
"""

import io
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import attrgetter

from blobfs.model import EMPTY_BLOB, MAX_COMPONENT_BYTES, BlobId, Invalid
from blobfs.record import MAX_BLOB_SIZE, MAX_TARGET_BYTES

MAX_MANIFEST_BYTES = 64 << 20
"""About 400,000 files; over it a manifest is a mistake, and it is held in memory whole."""
MAX_NESTING = 16
"""Packages in packages; over it they are a mistake or an attack."""
MAX_PATH_BYTES = 4096
"""Of a path without its ``./``, unescaped: Linux' PATH_MAX."""

FIRST_SECOND = -62_135_596_800
"""0001-01-01, and below the last second of 9999-12-31: what a name record can say too."""
LAST_SECOND = 253_402_300_799

_HEAD = b"#mtree\n"
_NS = 1_000_000_000
_MAX_SHOWN = 80
"""Characters of a line in a message."""


@dataclass(frozen=True, slots=True)
class Directory:
    path: bytes
    """As in every entry: without the ``./``, unescaped."""
    mode: int


@dataclass(frozen=True, slots=True)
class File:
    path: bytes
    mode: int
    size: int
    mtime_ns: int
    blob: BlobId


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link; its mode is always 0o777."""

    path: bytes
    target: bytes


@dataclass(frozen=True, slots=True)
class Nested:
    """Another package in the place of a directory, which is shown with mode 0o755."""

    path: bytes
    package: BlobId


Entry = Directory | File | Link | Nested


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `parse_manifest` read; nothing else makes one, so its entries keep every rule."""

    entries: tuple[Entry, ...]
    """In byte order of their paths."""

    def blobs(self) -> dict[BlobId, int]:
        """The content of its files: blob id to size, in order of first appearance."""
        return {entry.blob: entry.size for entry in self.entries if isinstance(entry, File)}

    def packages(self) -> list[BlobId]:
        """The nested packages, each once, in order of first appearance."""
        return list(dict.fromkeys(entry.package for entry in self.entries if isinstance(entry, Nested)))


def parse_manifest(raw: bytes) -> Manifest:
    """Raises `Invalid`, with line and reason, for anything that is not canonical."""
    if len(raw) > MAX_MANIFEST_BYTES:
        raise Invalid(f"a manifest has {len(raw)} bytes, the limit is {MAX_MANIFEST_BYTES}")
    lines = enumerate(io.BytesIO(raw), start=1)
    number, line = next(lines, (1, b""))
    if line != _HEAD:
        raise Invalid(f"line {number}: not #mtree: {_shown(line)}")
    entries: list[Entry] = []
    order = _Order()
    for number, line in lines:
        try:
            entry = _entry_of(line)
            order.check_next(entry)
        except Invalid as wrong:
            raise Invalid(f"line {number}: {wrong}: {_shown(line)}") from None
        entries.append(entry)
    return Manifest(tuple(entries))


def render_manifest(entries: Iterable[Entry]) -> bytes:
    """The one text of these entries, in whatever order they come.

    Raises `Invalid` if `parse_manifest` would refuse it: it is asked, so the two cannot disagree.
    """
    in_order = tuple(sorted(entries, key=attrgetter("path")))
    raw = b"".join([_HEAD, *map(_line_of, in_order)])
    if parse_manifest(raw).entries != in_order:
        raise Invalid("an entry with a value that no line can hold")
    return raw


class _Order:
    """What the entries so far ask of the next one: its place, its parent, the sizes of its blob."""

    def __init__(self) -> None:
        self._last_path = b""
        self._directories = {b""}
        self._sizes: dict[BlobId, int] = {}

    def check_next(self, entry: Entry) -> None:
        path = entry.path
        if path == self._last_path:
            raise Invalid("a path that is there already")
        if path < self._last_path:
            raise Invalid("out of order, paths go up byte by byte")
        self._last_path = path
        if path.rpartition(b"/")[0] not in self._directories:
            raise Invalid("without a line before it that makes its parent a plain directory")
        if isinstance(entry, File):
            if self._sizes.setdefault(entry.blob, entry.size) != entry.size:
                raise Invalid(f"a line before it says that this blob has {self._sizes[entry.blob]} bytes")
        elif isinstance(entry, Directory):
            self._directories.add(path)


# Lines


_MODE = rb"(0[0-7]{3})"
_ID = rb"([0-9a-f]{64})"
_SIZE = rb"(0|[1-9][0-9]{0,13})"
_TIME = rb"((?:0|-?[1-9][0-9]{0,11})\.[0-9]{9})"

_MUST_ESCAPE = rb"[^!-\"$-<>-\[\]-~]"
_ESCAPES = {byte: f"\\{byte:03o}" for byte in range(256) if re.match(_MUST_ESCAPE, bytes([byte]))}
_ESCAPED = rb"0(?:0[1-7]|[1-3][0-7]|4[03]|75)|1(?:34|77)|[23][0-7]{2}"
"""The digits of those, without NUL, which nothing may hold."""
_NOT_CANONICAL = re.compile(_MUST_ESCAPE + rb"(?:(?<!\\)|(?!" + _ESCAPED + rb"))")
"""Searched for: a match of the whole text takes four times as long where much is escaped."""


def _file(path: bytes, mode: bytes, size_text: bytes, time: bytes, blob: bytes) -> File:
    size = int(size_text)
    second = int(time[:-10])
    if size > MAX_BLOB_SIZE:
        raise Invalid(f"a file of {size} bytes, the limit is {MAX_BLOB_SIZE}")
    if not FIRST_SECOND <= second <= LAST_SECOND:
        raise Invalid("a time outside the years 1 to 9999")
    found = File(path, int(mode, 8), size, second * _NS + int(time[-9:]), BlobId(blob.decode()))
    if (size == 0) != (found.blob == EMPTY_BLOB):
        raise Invalid(f"a file of {size} bytes cannot have this content")
    return found


def _link(path: bytes, target: bytes) -> Link:
    return Link(path, _unescape("target", target, MAX_TARGET_BYTES))


@dataclass(frozen=True, slots=True)
class _Shape:
    """What may stand behind a path: keywords in this order, each with the pattern of its value."""

    type: str
    keywords: dict[str, bytes]
    build: Callable[..., Entry]
    """From the path and the groups of the patterns."""

    def compiled(self) -> re.Pattern[bytes]:
        words = (keyword.encode() + b"=" + value for keyword, value in self.keywords.items())
        return re.compile(b" ".join([b"type=" + self.type.encode(), *words]))


_SHAPES = (
    _Shape("file", {"mode": _MODE, "size": _SIZE, "time": _TIME, "contents": _ID}, _file),
    _Shape("dir", {"mode": _MODE}, lambda path, mode: Directory(path, int(mode, 8))),
    _Shape("link", {"mode": b"0777", "link": rb"([^ ]*)"}, _link),
    _Shape("dir", {"contents": _ID}, lambda path, package: Nested(path, BlobId(package.decode()))),
)
_LINES = [(shape.compiled().fullmatch, shape.build) for shape in _SHAPES]


def _entry_of(line: bytes) -> Entry:
    if line[-1:] != b"\n":
        raise Invalid("no line feed at its end")
    text, _, words = line[:-1].partition(b" ")
    path = _path_of(text)
    for fullmatch, build in _LINES:
        if match := fullmatch(words):
            return build(path, *match.groups())
    raise Invalid(_what_is_wrong(words))


def _path_of(text: bytes) -> bytes:
    if text[:2] != b"./":
        raise Invalid("a path that does not begin with ./")
    path = _unescape("path", text[2:], MAX_PATH_BYTES)
    last = path.rpartition(b"/")[2]
    if b"//" in b"/%b/" % path:
        raise Invalid("a path with an empty component")
    if last in (b".", b".."):  # of those above it, the parent's line said that they are none
        raise Invalid("a path with a component . or ..")
    if len(last) > MAX_COMPONENT_BYTES:
        raise Invalid(f"a path's component of {len(last)} bytes, the limit is {MAX_COMPONENT_BYTES}")
    return path


def _unescape(what: str, text: bytes, limit: int) -> bytes:
    """1 to `limit` bytes. Python reads octal escapes as mtree does, and others are refused before."""
    if len(text) > len("\\000") * limit:  # so that nobody's line keeps the search below busy for seconds
        raise Invalid(f"a {what} of {len(text)} characters, the limit is {limit} bytes")
    if _NOT_CANONICAL.search(text):
        raise Invalid(_wrong_text(what, text))
    found = text.decode("unicode_escape").encode("latin-1") if b"\\" in text else text
    if not 0 < len(found) <= limit:
        raise Invalid(f"a {what} of {len(found)} bytes, it has 1 to {limit}")
    return found


def _line_of(entry: Entry) -> bytes:
    """Of any values, legal or not: what comes out is judged as a line."""
    match entry:
        case File():
            second, rest = divmod(entry.mtime_ns, _NS)
            time = f"{second}.{rest:09d}"
            words = f"file mode={entry.mode:04o} size={entry.size} time={time} contents={entry.blob}"
        case Directory():
            words = f"dir mode={entry.mode:04o}"
        case Link():
            words = f"link mode=0777 link={_escape(entry.target)}"
        case Nested():
            words = f"dir contents={entry.package}"
    return f"./{_escape(entry.path)} type={words}\n".encode("ascii", "backslashreplace")


def _escape(text: bytes) -> str:
    return text.decode("latin-1").translate(_ESCAPES)


# What is wrong with a line that matches nothing, in words


def _what_is_wrong(words: bytes) -> str:
    found = [word.partition(b"=")[::2] for word in words.split(b" ", 6)]
    for shape in _SHAPES:
        keys = ["type", *shape.keywords]
        if found[0][1] == shape.type.encode() and [key for key, _ in found] == [*map(str.encode, keys)]:
            return _wrong_value(shape, [value for _, value in found[1:]])
    shapes = "; ".join(f"type={shape.type} {' '.join(shape.keywords)}" for shape in _SHAPES)
    return f"keywords other than {shapes}"


def _wrong_value(shape: _Shape, values: list[bytes]) -> str:
    wrong = next(
        keyword
        for (keyword, pattern), value in zip(shape.keywords.items(), values, strict=True)
        if not re.fullmatch(pattern, value)
    )
    return f"no canonical {wrong}="


def _wrong_text(what: str, text: bytes) -> str:
    if b"\\000" in text:
        return f"a {what} with a NUL"
    rest = re.sub(rb"\\[0-3][0-7]{2}", b"", text)
    if b"\\" in rest:
        return f"a {what} with a backslash without three octal digits"
    if re.search(_MUST_ESCAPE, rest):
        return f"a {what} with a byte that must be escaped"
    return f"a {what} with an escape of a byte that needs none"


def _shown(line: bytes) -> str:
    """The begin of a line; what a terminal might obey is a question mark."""
    text = re.sub(rb"[^ -~]", b"?", line.removesuffix(b"\n")[: _MAX_SHOWN + 1]).decode()
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."
