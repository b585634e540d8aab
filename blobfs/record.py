"""Name records and directory logs: the JSON that says which blob a name means (docs/formats.md).

A record is one JSON object. A log is a header line and then one object a line: a record plus the
entry's last component as ``name``; a log that was made from records ends with its header again.
Readers ignore keys they do not know, refuse another ``v``, and skip a log line that does not parse (a
crash may have cut it short). Everything here is pure.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from blobfs.model import BlobId, Invalid, parse_blob_id, parse_component

RECORD_VERSION = 1
LOG_VERSION = 1
MAX_RECORD_BYTES = 32 * 1024
"""A record is never longer: six bytes for each of a target and a component, and a few fixed keys."""
MAX_TARGET_BYTES = 4095
MAX_BLOB_SIZE = 1 << 44
"""16 TiB, ext4's largest file: over it a size is a mistake or an attack, and its chunk map would not fit
into memory."""

LOG_NAME = ".blobfs-log"

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|\+00:00)\Z", re.ASCII)
_NS = 1_000_000_000
_FIRST_NS = -62_135_596_800 * _NS
"""0001-01-01, the first day RFC 3339 can write and Python can hold."""
_LAST_NS = 253_402_300_800 * _NS - 1
"""The end of 9999-12-31."""


@dataclass(frozen=True, slots=True)
class BlobRecord:
    """A name that means a blob."""

    blob: BlobId
    size: int
    mode: int
    """0o444 or 0o555."""
    mtime_ns: int
    published_ns: int


@dataclass(frozen=True, slots=True)
class SymlinkRecord:
    target: str
    mtime_ns: int
    published_ns: int


@dataclass(frozen=True, slots=True)
class GoneRecord:
    """A tombstone: the name was removed by its publisher."""

    published_ns: int


@dataclass(frozen=True, slots=True)
class DirRecord:
    """A sub-directory; stands in logs only."""

    mtime_ns: int
    published_ns: int
    loaded: bool = field(default=False, compare=False)
    """Who says so has it only for what it loaded: it does not keep it."""


Record = BlobRecord | SymlinkRecord | GoneRecord
LogRecord = Record | DirRecord


@dataclass(frozen=True, slots=True)
class LogEntry:
    component: str
    record: LogRecord
    loaded: bool = False
    """The node that wrote this log is not the name's publisher, it loaded the blob from another."""


def format_time(ns: int) -> str:
    """RFC 3339 in UTC with nine digits: ``2026-01-02T03:04:05.000000006Z``.

    A time outside the years 1 to 9999 becomes the nearest one inside: any program may set such an
    mtime, and that must not keep its file from being shared.
    """
    seconds, rest = divmod(min(max(ns, _FIRST_NS), _LAST_NS), _NS)
    moment = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    return f"{moment.isoformat()}.{rest:09d}Z"


def parse_time(text: str) -> int:
    """Nanoseconds since the epoch. Raises `Invalid`."""
    match = _RFC3339.match(text)
    if match is None:
        raise Invalid(f"not an RFC 3339 time in UTC: {text[:40]!r}")
    try:
        moment = datetime.fromisoformat(match[1]).replace(tzinfo=UTC)
    except ValueError:
        raise Invalid(f"not a date: {text[:40]!r}") from None
    return int(moment.timestamp()) * _NS + int((match[2] or "").ljust(9, "0"))


def record_fields(record: LogRecord) -> dict[str, Any]:
    """As it stands in JSON."""
    published = format_time(record.published_ns)
    match record:
        case BlobRecord():
            return {
                "v": RECORD_VERSION,
                "kind": "blob",
                "blob": record.blob,
                "size": record.size,
                "mode": f"{record.mode:04o}",
                "mtime": format_time(record.mtime_ns),
                "published": published,
            }
        case SymlinkRecord():
            return {
                "v": RECORD_VERSION,
                "kind": "symlink",
                "target": record.target,
                "mtime": format_time(record.mtime_ns),
                "published": published,
            }
        case GoneRecord():
            return {"v": RECORD_VERSION, "kind": "gone", "published": published}
        case DirRecord():
            return {
                "v": RECORD_VERSION,
                "kind": "dir",
                "mtime": format_time(record.mtime_ns),
                "published": published,
            }


def _dump(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8") + b"\n"


def encode_record(record: Record) -> bytes:
    return _dump(record_fields(record))


def decode_record(raw: bytes) -> Record:
    """Raises `Invalid` with what is wrong in it."""
    record = _from_fields(_load_object(raw))
    if isinstance(record, DirRecord):
        raise Invalid("a name record of kind dir")
    return record


def encode_log_header(generation: str, made_ns: int | None = None) -> bytes:
    """`made_ns` is when the log was begun: later than any log that it replaces."""
    made = {} if made_ns is None else {"made": format_time(made_ns)}
    return _dump({"log": LOG_VERSION, "generation": generation} | made)


def encode_log_entry(entry: LogEntry) -> bytes:
    fields = record_fields(entry.record) | {"name": entry.component}
    return _dump(fields | {"loaded": True} if entry.loaded else fields)


def decode_log_header(line: bytes) -> str:
    """The log's generation. Raises `Invalid`."""
    fields = _load_object(line)
    _require_version(fields, "log", LOG_VERSION)
    return _string(fields, "generation")


def decode_log_made(line: bytes) -> int | None:
    """When the log was begun, if its header says so. Raises `Invalid` for what is no header."""
    fields = _load_object(line)
    try:
        return parse_time(_string(fields, "made"))
    except Invalid:
        return None


def decode_log_entries(raw: bytes) -> Iterator[LogEntry]:
    """The entries of whole lines, in the order written; a line that is no entry is skipped."""
    for line in raw.split(b"\n"):
        try:
            fields = _load_object(line)
            component = parse_component(_string(fields, "name").encode("utf-8"))
            record = _from_fields(fields)
        except Invalid:
            continue
        yield LogEntry(component, record, fields.get("loaded") is True)


def _load_object(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_RECORD_BYTES:
        raise Invalid(f"{len(raw)} bytes, a record has at most {MAX_RECORD_BYTES}")
    try:
        # Decoded here: json would also take UTF-16, UTF-32 and encoded surrogates.
        fields = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise Invalid("not JSON") from None
    if not isinstance(fields, dict):
        raise Invalid("not a JSON object")
    return fields


def _refuse_constant(word: str) -> None:
    """NaN and Infinity, which Python's json takes and JSON does not know."""
    raise ValueError(word)


def _from_fields(fields: dict[str, Any]) -> LogRecord:
    _require_version(fields, "v", RECORD_VERSION)
    published = parse_time(_string(fields, "published"))
    match fields.get("kind"):
        case "blob":
            return BlobRecord(
                parse_blob_id(_string(fields, "blob")),
                _size(fields),
                _mode(fields),
                parse_time(_string(fields, "mtime")),
                published,
            )
        case "symlink":
            return SymlinkRecord(
                parse_target(_string(fields, "target")), _mtime(fields, published), published
            )
        case "gone":
            return GoneRecord(published)
        case "dir":
            return DirRecord(_mtime(fields, published), published, fields.get("loaded") is True)
        case other:
            raise Invalid(f"a record of kind {_shown(other)}")


def parse_target(target: str) -> str:
    """A symlink's target: relative, UTF-8, not empty, no NUL, ``..`` only in front. Raises `Invalid`.

    That ``..`` never follows a name keeps a chain of links from climbing out of the mount; how many
    leading ones are allowed depends on where the link stands (`target_stays_inside`).
    """
    if not 0 < len(_utf8(target)) <= MAX_TARGET_BYTES or "\0" in target or target.startswith("/"):
        raise Invalid(f"not a relative symlink target: {target[:80]!r}")
    parts = [part for part in target.split("/") if part not in ("", ".")]
    climbing = True
    for part in parts:
        if part != "..":
            climbing = False
        elif not climbing:
            raise Invalid(f"a symlink target with '..' after a name: {target[:80]!r}")
    return target


def target_stays_inside(target: str, depth: int) -> bool:
    """Whether a parsed target of a link `depth` directories below the root stays in the mount."""
    return target.split("/").count("..") <= depth


def _string(fields: dict[str, Any], key: str) -> str:
    value = fields.get(key)
    if not isinstance(value, str):
        raise Invalid(f"a record without a proper {key!r}")
    _utf8(value)
    return value


def _utf8(text: str) -> bytes:
    """JSON's escapes can spell lone surrogates, which no file name and no record of ours can hold."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise Invalid(f"not valid UTF-8: {text[:80]!r}") from None


def _shown(value: object) -> str:
    """A foreign value for a message; one that nests only by its type, however deep and long it is."""
    return repr(value)[:40] if isinstance(value, str | int | float | None) else type(value).__name__


def _require_version(fields: dict[str, Any], key: str, known: int) -> None:
    version = fields.get(key)
    if type(version) is not int or version != known:  # True == 1 == 1.0, and neither is a version
        raise Invalid(f"{key!r} is {_shown(version)}, this reader knows version {known}")


def _size(fields: dict[str, Any]) -> int:
    value = fields.get("size")
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_BLOB_SIZE:
        raise Invalid("a record without a proper 'size'")
    return value


def _mode(fields: dict[str, Any]) -> int:
    value = fields.get("mode")
    if value not in ("0444", "0555"):
        raise Invalid("a record whose 'mode' is neither 0444 nor 0555")
    return int(value, 8)


def _mtime(fields: dict[str, Any], default: int) -> int:
    return parse_time(_string(fields, "mtime")) if "mtime" in fields else default
