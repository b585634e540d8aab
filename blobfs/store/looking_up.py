"""One name of a directory that is not in memory: from its record, or with all the others from the log.

Which of the two costs less depends on how long the log is and how often the directory is asked; the caller
says how many bytes of log the answer is worth.
"""

import os

from blobfs import errors
from blobfs.model import ROOT, Name, split
from blobfs.store.failures import store_errors
from blobfs.store.names import LocalName, read_directory, read_record
from blobfs.store.opening import Store


@store_errors()
def find_directory(store: Store, directory: Name) -> dict[str, LocalName] | None:
    """All its entries. None: there is no such directory."""
    try:
        return read_directory(store, directory)
    except errors.NameMissing:
        return None


@store_errors()
def find_entry(store: Store, name: Name, worth: int) -> dict[str, LocalName] | LocalName | None:
    """The entry of a name, None if there is none; or all of its directory, if its log has at most `worth`
    bytes."""
    if name == ROOT:
        return None
    directory, _ = split(name)
    log = _size(os.fspath(store.layout.log(directory)))
    if log is not None and log <= worth:
        return find_directory(store, directory)
    found = read_record(store, name)
    if found is None and os.path.lexists(store.layout.record(name)):
        return find_directory(store, directory)  # the record is broken: what the log says of the name counts
    return found


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except (FileNotFoundError, NotADirectoryError):
        return None
