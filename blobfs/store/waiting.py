"""Names that wait for their blob to be whole: `partial/<key>.names` (format: `blobfs.store.layout`)."""

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from blobfs.model import Name, parse_name
from blobfs.record import BlobRecord, decode_record, encode_record
from blobfs.store.checks import check_of, is_as_written
from blobfs.store.failures import store_errors
from blobfs.store.files import replace_file
from blobfs.store.layout import PRIVATE_FILE_MODE, Layout
from blobfs.store.marks import CHECK
from blobfs.store.opening import Store

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WaitingName:
    """A name to publish when the blob is whole."""

    name: Name
    record: BlobRecord
    share: str
    """URL of the share the record came from."""


@store_errors()
def add_waiting(layout: Layout, key: str, added: WaitingName) -> None:
    """Takes the place of what waits under the same name."""
    waiting = read_waiting(layout, key)
    if added in waiting:
        return
    others = [each for each in waiting if each.name != added.name]
    content = b"".join(_encode(each) for each in [*others, added])
    replace_file(layout, layout.partial_names(key), content, PRIVATE_FILE_MODE, {CHECK: check_of(content)})


@store_errors()
def read_waiting(layout: Layout, key: str) -> list[WaitingName]:
    path = layout.partial_names(key)
    try:
        raw = path.read_bytes()
        if not is_as_written(path, raw):
            _log.warning("%s is damaged; it tells nothing", path)
            return []
    except FileNotFoundError:
        return []
    return list(_decode(raw.split(b"\n")))


@store_errors()
def list_waiting(store: Store) -> list[tuple[str, list[WaitingName]]]:
    """At start, after `list_partials`: by key, names whose blob became whole but that were not published."""
    keys = (path.name.removesuffix(".names") for path in store.layout.partial.glob("*.names"))
    return [
        (key, read_waiting(store.layout, key))
        for key in sorted(keys)
        if not store.layout.partial_content(key).exists()
    ]


@store_errors()
def forget_waiting(store: Store, key: str) -> None:
    """They are published."""
    store.layout.partial_names(key).unlink(missing_ok=True)


def _encode(waiting: WaitingName) -> bytes:
    record = json.loads(encode_record(waiting.record))
    fields = {"name": waiting.name, "record": record, "share": waiting.share}
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _decode(lines: Iterable[bytes]) -> Iterable[WaitingName]:
    for line in lines:
        try:
            fields: Any = json.loads(line)
            record = decode_record(json.dumps(fields["record"]).encode())
            name, share = parse_name(fields["name"]), str(fields["share"])
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
        if isinstance(record, BlobRecord):
            yield WaitingName(name, record, share)
