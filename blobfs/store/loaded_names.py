"""Which names a loaded blob has here: noted on the blob itself, so that it can be evicted with its links.

Only the names under which this node shares in turn are noted. Every other link to the blob's file is somebody
who holds it. A note may be older than the truth: whoever uses it looks whether the link is there.
"""

import errno
import logging
from pathlib import Path

from blobfs.model import Invalid, Name, parse_name
from blobfs.store.marks import KEEP, LOADED, NAMES, PINNED, YES, get_mark, remove_mark, set_mark

_log = logging.getLogger(__name__)

SEPARATOR = b"\0"
"""The one byte that is in no name."""
SHORT = 1000
"""Bytes of an attribute that every file system takes: the disk is full if it does not."""
_NO_ROOM = (errno.ENOSPC, errno.E2BIG, errno.ERANGE)
"""What file systems say of an attribute that is too long."""


def is_loaded(blob: Path) -> bool:
    """Whether a blob, or the content of a partial one, came from a share. Raises OSError."""
    return get_mark(blob, LOADED) == YES


def may_go(blob: Path, links: int) -> bool:
    """Whether it looks as if a blob with so many links, or the content of a partial one, could be evicted."""
    return (
        is_loaded(blob)
        and get_mark(blob, PINNED) != YES
        and not get_mark(blob, KEEP)
        and (links == 1 or links <= 1 + len(noted_names(blob)))
    )


def noted_names(blob: Path) -> list[Name]:
    """Raises OSError."""
    found = []
    for raw in (get_mark(blob, NAMES) or b"").split(SEPARATOR):
        try:
            found.append(parse_name(raw.decode("utf-8")))
        except (Invalid, UnicodeDecodeError):
            if raw:
                _log.debug("%s is noted under what is no name: %r", blob, raw)
    return found


def note_name(blob: Path, name: Name) -> None:
    """Before the link is made. Raises OSError.

    A blob whose names do not fit any more is not evicted from then on.
    """
    if not is_loaded(blob):
        return
    names = noted_names(blob)
    if name in names:
        return
    raw = _joined([*names, name])
    try:
        set_mark(blob, NAMES, raw)
    except OSError as failure:
        if failure.errno not in _NO_ROOM or len(raw) <= SHORT:
            raise
        _log.info("%s has too many names to be evicted: %s", blob.name, failure.strerror)
        remove_mark(blob, LOADED)


def forget_name(blob: Path, name: Name) -> None:
    """This node has become the publisher of a name that it had loaded. Raises OSError."""
    names = noted_names(blob)
    if name in names:
        names.remove(name)
        set_mark(blob, NAMES, _joined(names))


def _joined(names: list[Name]) -> bytes:
    return SEPARATOR.join(name.encode("utf-8") for name in names)
