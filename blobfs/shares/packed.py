"""Log entries in little memory: a record as some 60 bytes instead of an object with five in it. Pure.

A node keeps a million names of other nodes. As bytes they take a third of the memory, and the garbage
collector has nothing to look at. The line of a file, as blobfs writes it, is packed without being parsed as
JSON; every other line goes the long way through `blobfs.record`.
"""

import functools
import re
import struct

from blobfs.model import BlobId, Invalid
from blobfs.record import (
    MAX_BLOB_SIZE,
    BlobRecord,
    DirRecord,
    GoneRecord,
    LogRecord,
    SymlinkRecord,
    decode_log_entries,
    parse_time,
)

Packed = bytes
"""One record; `unpack` knows what stands in it."""

_NS = 1_000_000_000
_FILE, _PROGRAM, _SYMLINK, _DIRECTORY, _GONE, _LOADED_DIRECTORY = range(6)
_TIME = "qI"  # seconds since the epoch, which may be before it, and nanoseconds
_HEAD = struct.Struct(f"<B{_TIME}")
"""What it is and when it was published; a tombstone has no more."""
_DATED = struct.Struct(f"<B{_TIME}{_TIME}")
_BLOB = struct.Struct(f"<B{_TIME}{_TIME}Q32s")

_STAMP = rb'"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{9})Z"'
_FILE_LINE = re.compile(
    rb'\{"v":1,"kind":"blob","blob":"([0-9a-f]{64})","size":(0|[1-9]\d{0,13}),"mode":"(0444|0555)",'
    rb'"mtime":' + _STAMP + rb',"published":' + _STAMP + rb","
    # No escapes, nothing but ASCII, no '.' in front: what a component may not be is not among these.
    rb'"name":"([0-9A-Za-z_+=@,~ -][0-9A-Za-z_+=@,~ .-]{0,254})"(?:,"loaded":true)?\}\Z'
)


def pack_line(line: bytes) -> tuple[str, Packed] | None:
    """The component and the record of a log's line; None for a line that is no entry."""
    match = _FILE_LINE.match(line)
    if match is None:
        return _pack_any_line(line)
    blob, size, mode, mtime, mtime_ns, published, published_ns, name = match.groups()
    if int(size) > MAX_BLOB_SIZE:
        return None
    try:
        packed = _BLOB.pack(
            _PROGRAM if mode == b"0555" else _FILE,
            _seconds(published),
            int(published_ns),
            _seconds(mtime),
            int(mtime_ns),
            int(size),
            bytes.fromhex(blob.decode("ascii")),
        )
    except Invalid:  # no such day
        return None
    return name.decode("ascii"), packed


def _pack_any_line(line: bytes) -> tuple[str, Packed] | None:
    for entry in decode_log_entries(line):
        return entry.component, pack(entry.record)
    return None


@functools.lru_cache(1024)
def _seconds(stamp: bytes) -> int:
    """What was published together has few different ones."""
    return parse_time(stamp.decode("ascii") + "Z") // _NS


def pack(record: LogRecord) -> Packed:
    published = divmod(record.published_ns, _NS)
    match record:
        case BlobRecord(blob, size, mode, mtime_ns):
            kind = _PROGRAM if mode == 0o555 else _FILE
            return _BLOB.pack(kind, *published, *divmod(mtime_ns, _NS), size, bytes.fromhex(blob))
        case SymlinkRecord(target, mtime_ns):
            return _DATED.pack(_SYMLINK, *published, *divmod(mtime_ns, _NS)) + target.encode("utf-8")
        case DirRecord(mtime_ns, loaded=loaded):
            kind = _LOADED_DIRECTORY if loaded else _DIRECTORY
            return _DATED.pack(kind, *published, *divmod(mtime_ns, _NS))
        case GoneRecord():
            return _HEAD.pack(_GONE, *published)


def unpack(packed: Packed) -> LogRecord:
    match packed[0]:
        case 0 | 1:  # _FILE, _PROGRAM
            kind, seconds, ns, mtime, mtime_ns, size, blob = _BLOB.unpack(packed)
            mode = 0o555 if kind == _PROGRAM else 0o444
            return BlobRecord(BlobId(blob.hex()), size, mode, mtime * _NS + mtime_ns, seconds * _NS + ns)
        case 4:  # _GONE
            _, seconds, ns = _HEAD.unpack(packed)
            return GoneRecord(seconds * _NS + ns)
    kind, seconds, ns, mtime, mtime_ns = _DATED.unpack_from(packed)
    dates = mtime * _NS + mtime_ns, seconds * _NS + ns
    if kind == _SYMLINK:
        return SymlinkRecord(packed[_DATED.size :].decode(), *dates)
    return DirRecord(*dates, loaded=kind == _LOADED_DIRECTORY)


def published_of(packed: Packed) -> int:
    """When it was published, without the rest."""
    _, seconds, ns = _HEAD.unpack_from(packed)
    return int(seconds * _NS + ns)


def is_gone(packed: Packed) -> bool:
    """Whether it is a tombstone."""
    return packed[0] == _GONE
