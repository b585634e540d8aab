"""Which directories of names a crash may leave half changed: those changed since all was last on the disk.

A directory is marked before the first change in it, by a symbolic link in `changing/`. The mark goes when a
flush of everything has ended that began after the last change; so a start after an unclean end looks at what
is marked, however many names there are.

It is sound because file systems keep the order in which names are made, removed and renamed: the mark is not
lost where a later change is kept. (ext4, XFS and Btrfs journal them in order.) What breaks in other ways is
for ``blobfs verify`` to find.
"""

import contextlib
import hashlib
import os
import threading
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from blobfs.model import ROOT, Invalid, Name, parse_name
from blobfs.store.failures import store_errors

_EVERYTHING = "everything"
"""The mark of all directories: the store is older than marks are."""
_HASH_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Suspects:
    """What the last run did not bring to its end. `everything`: nobody knows what, nothing is listed."""

    directories: tuple[Name, ...]
    everything: bool = False


class ChangingDirectories:
    """The marks. Thread-safe.

    `_marked` are those of this run. The mark must stay of those in `_busy`, which counts changes under
    way, and of those in `_torn`, where one broke off.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._marked: set[Name] = set()
        self._busy: Counter[Name] = Counter()
        self._torn: set[Name] = set()

    def __repr__(self) -> str:
        return f"ChangingDirectories(marked={len(self._marked)}, busy={self._busy.total()})"

    @property
    def any_marked(self) -> bool:
        return bool(self._marked)

    @contextlib.contextmanager
    def changing(self, *directories: Name) -> Iterator[None]:
        """Around a change of names in them. Raises OSError when it cannot be marked: nothing may change."""
        with self._lock:
            for directory in set(directories) - self._marked:
                self._mark(directory)
                self._marked.add(directory)
            self._busy.update(directories)
        try:
            yield
        except BaseException:
            with self._lock:
                self._torn.update(directories)
            raise
        finally:
            with self._lock:
                self._busy.subtract(directories)
                self._busy = +self._busy

    def _mark(self, directory: Name) -> None:
        with contextlib.suppress(FileExistsError):
            os.symlink(f"/{directory}", self._path / _mark_of(directory))

    def mended(self, directory: Name) -> None:
        """What had broken off in it is in order again."""
        with self._lock:
            self._torn.discard(directory)

    @store_errors()
    def suspect_everything(self) -> None:
        (self._path / _EVERYTHING).touch(mode=0o600)

    def take(self) -> set[Name]:
        """What is marked and at rest. Flush everything, then `settle` it; or `put_back` if that failed."""
        with self._lock:
            taken = self._marked - self._busy.keys() - self._torn
            self._marked -= taken
        return taken

    def put_back(self, taken: Collection[Name]) -> None:
        with self._lock:
            self._marked.update(taken)

    @store_errors()
    def settle(self, directories: Collection[Name], everything: bool = False) -> None:
        """What was right in them is on the disk: their marks go, unless they have changed since."""
        with self._lock:
            for directory in directories:
                if directory not in self._marked:
                    (self._path / _mark_of(directory)).unlink(missing_ok=True)
        if everything:
            (self._path / _EVERYTHING).unlink(missing_ok=True)

    @store_errors()
    def clear(self) -> None:
        """At start after a clean end: nothing is suspect."""
        for text in os.listdir(self._path):
            (self._path / text).unlink(missing_ok=True)

    @store_errors()
    def suspects(self) -> Suspects:
        """By the marks that are there now, sorted; parents first."""
        found = []
        for text in os.listdir(self._path):
            try:
                found.append(self._read_mark(text))
            except (Invalid, OSError):  # no mark of ours, so it says nothing about what is suspect
                return Suspects((), everything=True)
        return Suspects(tuple(sorted(found)))

    def _read_mark(self, text: str) -> Name:
        target = os.readlink(self._path / text)
        directory = parse_name(target[1:]) if target != "/" else ROOT
        if _mark_of(directory) != text:
            raise Invalid(f"{text} is no mark of {directory!r}")
        return directory


def _mark_of(directory: Name) -> str:
    """A name may be longer than a file's."""
    return hashlib.sha256(directory.encode()).hexdigest()[:_HASH_DIGITS]
