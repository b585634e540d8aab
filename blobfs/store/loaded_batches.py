"""Many names at once that are shared in turn: of small blobs that were loaded, each with a record of its own.

As in `store.names`, record, line of the log, link; the lines of the directory are appended together. Nothing
has to last: what a power cut takes is loaded again.
"""

import contextlib
import os
from collections.abc import Mapping

from blobfs.model import Name, split
from blobfs.record import BlobRecord, LogEntry, encode_record
from blobfs.store import names
from blobfs.store.checks import check_of
from blobfs.store.failures import store_errors
from blobfs.store.files import replace_file
from blobfs.store.loaded_names import note_name
from blobfs.store.logs import append_log
from blobfs.store.marks import CHECK, LOADED, YES
from blobfs.store.opening import Store


@store_errors()
def put_loaded_names(store: Store, directory: Name, records: Mapping[Name, BlobRecord]) -> list[Name]:
    """Makes names mean blobs that were loaded; those whose blobs are here are returned.

    They mean nothing yet; they are all of that directory, which is here. The lock of the names is held.
    """
    here = {name: record for name, record in records.items() if store.layout.blob(record.blob).exists()}
    with store.changes.changing(directory):
        for name, record in here.items():
            raw = encode_record(record)
            replace_file(
                store.layout, store.layout.record(name), raw, marks={CHECK: check_of(raw), LOADED: YES}
            )
        entries = [LogEntry(split(name)[1], record, loaded=True) for name, record in here.items()]
        if entries and not append_log(store.layout, directory, *entries):
            names.rewrite_log(store, directory)
        for name, record in here.items():
            _link(store, name, record)
    return list(here)


def _link(store: Store, name: Name, record: BlobRecord) -> None:
    blob = store.layout.blob(record.blob)
    note_name(blob, name)
    with contextlib.suppress(OSError):  # a file is there, or the blob can have no more links
        os.link(blob, store.layout.named(name))
        return
    names.link_name(store, name, record, loaded=True)
