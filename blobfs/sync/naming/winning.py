"""Of several records of one name, which one counts. Pure, and the same on every node (docs/formats.md, 7.1).

1. The newest `published`, tombstones included.
2. Of equally old ones the greater in a fixed order of what they say: two nodes that publish at once agree
   on the winner, whatever the order in which each knows the shares.
3. A tombstone takes no directory away that somebody keeps: one node's ``rmdir`` does not bury what others
   have in theirs. Who has a directory only for what he loaded does not keep it.

So the winner follows from the set of records alone, and rule 3 wants all of them: a directory that lost
against a file wins against the tombstone of that file.
"""

from collections.abc import Sequence
from typing import TypeVar

from blobfs.record import BlobRecord, DirRecord, GoneRecord, LogRecord, SymlinkRecord

Holder = TypeVar("Holder")


def winner(records: Sequence[tuple[LogRecord, Holder]]) -> tuple[LogRecord, Holder]:
    """Of records and who has them, at least one; of the same record twice the first."""
    newest = _newest(records)
    if len(records) == 1 or not isinstance(newest[0], GoneRecord):
        return newest
    directories = [pair for pair in records if isinstance(pair[0], DirRecord) and not pair[0].loaded]
    return _newest(directories) if directories else newest


def _newest(records: Sequence[tuple[LogRecord, Holder]]) -> tuple[LogRecord, Holder]:
    best = records[0]
    for pair in records[1:]:
        if is_later(pair[0], best[0]):
            best = pair
    return best


def is_later(record: LogRecord, other: LogRecord) -> bool:
    """Whether a record counts and not the other one, by rules 1 and 2. A total order."""
    if record.published_ns != other.published_ns:
        return record.published_ns > other.published_ns
    return record != other and _order(record) > _order(other)


def _order(record: LogRecord) -> tuple[str, bytes, int, int, int]:
    """The kind, what the name means, then the rest of what a record says."""
    match record:
        case BlobRecord(blob, size, mode, mtime_ns):
            return "blob", blob.encode("ascii"), size, mode, mtime_ns
        case DirRecord(mtime_ns):
            return "dir", b"", 0, 0, mtime_ns
        case GoneRecord():
            return "gone", b"", 0, 0, 0
        case SymlinkRecord(target, mtime_ns):
            return "symlink", target.encode("utf-8"), 0, 0, mtime_ns
