"""Redo lists: the redo marks of many small files in one, `incoming/redo-<32 hex>` (docs/formats.md, 10.3).

One JSON object a line: ``file`` is the file in `incoming/`, ``name`` the whole name, ``record`` the name
record. A mark on the file itself counts and not its line; a line whose file is gone says nothing. A list that
is not what its check mark says, because a crash cut it short, promises nothing: its flush did not end.
"""

import json
import logging
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from blobfs.model import Invalid, Name, parse_name
from blobfs.record import BlobRecord, decode_record
from blobfs.store.checks import check_of
from blobfs.store.files import replace_file
from blobfs.store.layout import PRIVATE_FILE_MODE, REDO_LIST_PREFIX, Layout
from blobfs.store.marks import CHECK, get_mark

_log = logging.getLogger(__name__)

_FILE = re.compile(r"[0-9a-f]{32}\Z")


@dataclass(frozen=True, slots=True)
class ToRedo:
    """A line: a file, by its name in `incoming/`, and what it is to become."""

    file: str
    name: Name
    record: BlobRecord


def encode_line(file: str, name: Name, record: bytes) -> bytes:
    """`record` as its own file has it."""
    shown = json.dumps(name, ensure_ascii=False).encode()
    return b'{"file":"%s","name":%s,"record":%s}\n' % (file.encode(), shown, record.rstrip(b"\n"))


def write_redo_list(layout: Layout, lines: Iterable[bytes]) -> Path:
    """Not flushed. Raises OSError."""
    path = layout.new_redo_list()
    content = b"".join(lines)
    replace_file(layout, path, content, PRIVATE_FILE_MODE, {CHECK: check_of(content)})
    return path


def read_redo_lists(layout: Layout) -> dict[str, ToRedo]:
    """What all lists say, by file. Raises OSError."""
    found = {}
    for path in layout.incoming.glob(f"{REDO_LIST_PREFIX}*"):
        for line in _read(path):
            found[line.file] = line
    return found


def _read(path: Path) -> list[ToRedo]:
    raw = path.read_bytes()
    if get_mark(path, CHECK) != check_of(raw):
        _log.info("%s was cut off: what it lists was not sealed", path)
        return []
    try:
        return [_decode_line(line) for line in raw.splitlines()]
    except (Invalid, ValueError, KeyError, TypeError) as reason:
        _log.warning("%s is not a redo list: %s", path, reason)
        return []


def _decode_line(raw: bytes) -> ToRedo:
    fields = json.loads(raw)
    file, record = fields["file"], decode_record(json.dumps(fields["record"]).encode())
    if not _FILE.match(file) or not isinstance(record, BlobRecord):
        raise Invalid("a line that is none")
    return ToRedo(file, parse_name(fields["name"]), record)


def remove_finished_lists(layout: Layout) -> None:
    """Those of which no file is left. Raises OSError."""
    left = set(os.listdir(layout.incoming))
    for path in layout.incoming.glob(f"{REDO_LIST_PREFIX}*"):
        if left.isdisjoint(line.file for line in _read(path)):
            path.unlink()
