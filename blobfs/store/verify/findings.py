"""What verification finds, what it has done about it, and how far it is."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from blobfs.model import BlobId, Name
from blobfs.store.demotion import Became, demote
from blobfs.store.opening import Store


class Kind(StrEnum):
    """What is wrong."""

    BLOB = "blob"  # bytes that are not those of the id
    TREE = "tree"  # missing, or not the blob's
    BUNDLE = "bundle"
    RECORD = "record"  # broken, or missing where a file in the share stands for it
    LOG = "log"  # damaged, or not what the records say
    LINK = "link"  # a name's file: missing, of another blob, of no name
    MAP = "map"  # of a partial blob
    CHUNK = "chunk"  # of a partial blob: claimed by its map, and wrong
    WAITING = "waiting-names"  # those that a partial blob will have
    HOLD = "hold"  # a package's link to a blob
    PACKAGE = "package"  # a complete one that lacks something
    STRAY = "stray"  # what has no place where it is


class Done(StrEnum):
    """What was done about it."""

    NOTHING = "nothing"
    REBUILT = "rebuilt"  # from what vouches for it
    RESTORED = "restored"  # from a copy of what it was
    REMOVED = "removed"  # nobody needs it
    QUARANTINED = "quarantined"  # kept for the operator
    DEMOTED = "demoted"  # taken out of the share; its good chunks are kept, the others are to be loaded
    LOADED_AGAIN = "loaded again"
    LOST = "lost"  # nothing here can bring it back


_LEFT = frozenset({Done.NOTHING, Done.DEMOTED, Done.LOST})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. The JSON has these fields, `None` left out."""

    kind: Kind
    path: str
    """Relative to the store."""
    what: str
    done: Done = Done.NOTHING
    blob: BlobId | None = None
    """Whose bytes are wrong or not here, and could be loaded again."""
    size: int | None = None
    """Bytes of that blob, where they are known."""
    good: int | None = None
    """How many of them were right."""
    name: Name | None = None
    """Of a record that is lost."""

    @property
    def is_left(self) -> bool:
        """Whether something is wrong still."""
        return self.done in _LEFT or (self.blob is not None and self.done is Done.QUARANTINED)

    def fields(self) -> dict[str, Any]:
        """As it stands in JSON."""
        every = {
            "kind": self.kind.value,
            "path": self.path,
            "what": self.what,
            "done": self.done.value,
            "blob": self.blob,
            "size": self.size,
            "good": self.good,
            "name": self.name,
        }
        return {key: value for key, value in every.items() if value is not None}


class Stopped(Exception):
    """Nobody wants to know any more: the verification ends where it is."""


@dataclass(slots=True)
class Progress:
    """How far it is. Mutable: any thread adds; the totals are set before what they are of begins."""

    total_bytes: int = 0
    bytes_done: int = 0
    lost: int | None = None
    """Blobs to be loaded again; None before that."""
    loaded: int = 0
    """Of these; or found to be nowhere."""
    counts: dict[str, int] = field(default_factory=dict)
    """How many of what were looked at: blobs, names and so on."""
    stopped: threading.Event = field(default_factory=threading.Event)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def add(self, amount: int) -> None:
        """So many bytes were looked at. Raises `Stopped`."""
        with self._turn:
            self.bytes_done += amount
        if self.stopped.is_set():
            raise Stopped

    def count(self, what: str, number: int = 1) -> None:
        with self._turn:
            self.counts[what] = self.counts.get(what, 0) + number


Findings = Iterator[Finding]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What one verification looks at, and whether it may change it."""

    store: Store
    mends: bool
    after_crash: bool = False
    """The store was not left cleanly: a name that was being published when it ended is no damage."""
    progress: Progress = field(default_factory=Progress)
    wrong: set[BlobId] = field(default_factory=set)
    """Blobs that this verification found wrong, and took out of the share if it mends: they are told once."""

    def shown(self, path: Path) -> str:
        """A path as findings tell it."""
        return str(path.relative_to(self.store.layout.root))

    def finding(self, kind: Kind, path: Path, what: str, done: Done) -> Finding:
        """One about which `done` is done where anything is."""
        return Finding(kind, self.shown(path), what, self.outcome(done))

    def outcome(self, done: Done) -> Done:
        """What a finding says: nothing is done where nothing may be changed."""
        return done if self.mends else Done.NOTHING

    def take_out(self, blob: BlobId) -> Done:
        """Of a blob that is wrong: it leaves the share. Raises `StoreError`."""
        self.wrong.add(blob)
        if not self.mends:
            return Done.NOTHING
        became = demote(self.store, blob).became
        return Done.DEMOTED if became is Became.PARTIAL else Done.QUARANTINED

    def quarantine(self, path: Path) -> Done:
        """Puts something out of the way. Raises OSError."""
        if self.mends:
            path.rename(self.store.layout.new_quarantined(path.name))
        return self.outcome(Done.QUARANTINED)

    def remove(self, path: Path) -> Done:
        """Of what nobody needs. Raises OSError."""
        if self.mends:
            path.unlink(missing_ok=True)
        return self.outcome(Done.REMOVED)
