"""Looks at a store from outside, file by file: nothing in it is half-done.

Two looks. At any moment, also while no daemon runs (P10): what is exported is whole, is what it is called and
cannot be written. When a daemon is up and idle: records, links and logs say the same.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from blobfs.errors import BlobfsError
from blobfs.merkle import StreamHasher
from blobfs.model import LEAF_SIZE, ROOT, Invalid, Name, join, parse_component
from blobfs.record import LOG_NAME, BlobRecord, DirRecord, LogRecord, decode_log_entries, decode_record
from blobfs.store.layout import Layout
from blobfs.store.logs import read_log
from blobfs.store.marks import LOADED, RECORD

WRITABLE = 0o222

Seen = tuple[int, int, int, int]
"""Of a file that was hashed: inode, size, times of its last change. The same again: not hashed again."""


class Soundness:
    """Of one store. Remembers what it has hashed; `forget` makes it look at everything again."""

    def __init__(self, store: Path) -> None:
        self._layout = Layout(store)
        self._hashed: dict[str, Seen] = {}
        self.hashed_bytes = 0

    def forget(self) -> None:
        self._hashed.clear()

    def exported(self, *, trees: bool = True) -> Iterator[str]:
        """Complaints about what any web server may export at this moment.

        Without `trees`: between a power cut and the next start they may be cut short. Readers verify.
        """
        inodes = {}
        for path in _files(self._layout.blobs):
            about = path.stat()
            inodes[about.st_ino] = path.name
            yield from self._blob(path, about, trees)
        for path in _files(self._layout.share):
            if path.name.startswith(("temp-", ".temp")):
                yield f"left over in the share: {path}"
            if self._layout.reserved not in path.parents and path.stat().st_ino not in inodes:
                yield from self._copy(path)

    def _blob(self, path: Path, about: os.stat_result, trees: bool) -> Iterator[str]:
        seen = (about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
        if self._hashed.get(path.name) == seen:
            return
        if about.st_mode & WRITABLE:
            yield f"the blob {path.name} has mode {about.st_mode:o}"
        tree = _hash(path)
        self.hashed_bytes += about.st_size
        if tree[0] != path.name:
            yield f"the blob {path.name} has {about.st_size} bytes of {tree[0]}"
        elif not trees:
            return
        elif about.st_size > LEAF_SIZE and _content(self._layout.trees / path.name) != tree[1]:
            yield f"the tree of {path.name} is not right"
        else:
            self._hashed[path.name] = seen

    def _copy(self, path: Path) -> Iterator[str]:
        """A name that is not a link to a blob: only a copy of one may be so, where links have run out."""
        about = path.lstat()
        if about.st_mode & WRITABLE or not stat.S_ISREG(about.st_mode):
            yield f"the name {path} has mode {about.st_mode:o}"
        elif not (self._layout.blobs / _hash(path)[0]).exists():
            yield f"the name {path} has {about.st_size} bytes that are no blob"

    def settled(self) -> list[str]:
        """Complaints about names, of a store that is at rest."""
        complaints: list[str] = []
        directories = [ROOT]
        for directory in directories:  # grows while it is walked
            records = dict(self._records(directory, complaints))
            logged = read_log(self._layout, directory)
            if logged is None or {key: entry.record for key, entry in logged.items()} != records:
                complaints.append(f"the log of {directory!r} does not say what its records say")
            for component, record in records.items():
                name = join(directory, component)
                complaints += self._link(name, record)
                if isinstance(record, DirRecord):
                    directories.append(name)
            strays = set(self._shared(directory)) - records.keys()
            complaints += [f"{directory}/{stray} is shared, and has no record" for stray in strays]
        return complaints

    def _records(self, directory: Name, complaints: list[str]) -> Iterator[tuple[str, LogRecord]]:
        for path in sorted(self._layout.record(directory).iterdir()):
            if not _is_component(path.name):
                continue
            if path.is_dir():
                if (record := _directory_record(path)) is not None:
                    yield path.name, record
                else:
                    complaints.append(f"the directory {path} has no record")
                continue
            try:
                yield path.name, decode_record(path.read_bytes())
            except Invalid as reason:
                complaints.append(f"the record {path} is broken: {reason}")

    def _link(self, name: Name, record: LogRecord) -> list[str]:
        path = self._layout.named(name)
        if isinstance(record, DirRecord):
            return [] if path.is_dir() else [f"{name} is a directory, and not one in the share"]
        if not isinstance(record, BlobRecord):
            return [f"{name} is in the share, and should not be"] if os.path.lexists(path) else []
        blob = self._layout.blob(record.blob)
        if blob.exists() and path.exists() and path.samefile(blob):
            return []
        if not blob.exists() and not path.exists() and _is_loaded(self._layout.record(name)):
            return []
        return [f"{name} is not the blob that its record says"]

    def _shared(self, directory: Name) -> list[str]:
        return [name for name in os.listdir(self._layout.named(directory)) if _is_component(name)]


def _directory_record(path: Path) -> LogRecord | None:
    """What its mark says; None where it has none."""
    if RECORD not in os.listxattr(path):
        return None
    return next((entry.record for entry in decode_log_entries(os.getxattr(path, RECORD))), None)


def _is_loaded(path: Path) -> bool:
    return LOADED in os.listxattr(path)


def _is_component(text: str) -> bool:
    try:
        parse_component(os.fsencode(text))
    except (Invalid, BlobfsError):
        return False
    return text != LOG_NAME


def _files(directory: Path) -> Iterator[Path]:
    """All below it."""
    for place, _, names in os.walk(directory):
        yield from (Path(place, name) for name in names)


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _hash(path: Path) -> tuple[str, bytes]:
    hasher = StreamHasher()
    hasher.append(path.read_bytes())
    tree = hasher.finish()
    return tree.root, tree.tree
