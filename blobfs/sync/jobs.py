"""What the sealer works on. Values that change while they are on their way, and nothing else."""

from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from blobfs import errors
from blobfs.model import RESERVED_PREFIX, BlobId, Name
from blobfs.record import BlobRecord
from blobfs.store.batches import Written
from blobfs.store.held import Held
from blobfs.store.incoming import Incoming
from blobfs.store.partial import Partial
from blobfs.store.sealed import Content


@dataclass(eq=False)
class SealJob:
    """One closed file on its way into the share.

    `name`, `mode` and `mtime_ns` may be changed by whoever holds the lock of the names until
    `record` is set; `name` None means content that is kept by its id, or held by the transaction on
    `package` for which it was written; `dropped` that the file was unlinked. `record` or `failure`
    is set once, before `done`. `since` is when it was handed in, trio's clock. `source` has the content: one
    that is held in memory gives way to a file when it cannot be sealed with others.
    """

    source: Incoming | Held
    name: Name | None
    mode: int
    mtime_ns: int
    content: Content | None = None
    already_durable: bool = False
    """The content is known, and on the disk with its redo mark."""
    dropped: bool = False
    package: BlobId | None = None
    written: Written | None = None
    """It is in `incoming/`, marked in a redo list, as one of many."""
    record: BlobRecord | None = None
    failure: errors.BlobfsError | None = None
    done: trio.Event = field(default_factory=trio.Event)
    when_done: Callable[[], None] | None = None
    """Called once, at the first end, for whoever does not wait."""
    since: float = 0.0

    @property
    def incoming(self) -> Incoming:
        """Its file."""
        assert isinstance(self.source, Incoming)
        return self.source

    def end(self) -> None:
        """It is sealed, dropped or has failed."""
        self.done.set()
        if self.when_done is not None:
            self.when_done()
            self.when_done = None

    def sealed_mode(self) -> int:
        return 0o555 if self.mode & 0o111 else 0o444

    @property
    def what(self) -> str:
        """For people."""
        return self.name if self.name is not None else "a blob without a name"

    def __str__(self) -> str:
        return repr(self.name) if self.name is not None else self.what


@dataclass(eq=False)
class KeepJob:
    """A blob that was loaded to its last chunk; `done` is set when it is in the share, or failed."""

    partial: Partial
    content: Content
    mtime_ns: int
    failure: errors.BlobfsError | None = None
    done: trio.Event = field(default_factory=trio.Event)
    since: float = 0.0

    def end(self) -> None:
        """It is in the share, or has failed."""
        self.done.set()

    @property
    def what(self) -> str:
        """For people."""
        return f"{RESERVED_PREFIX}/blobs/{self.content.blob}"

    def __str__(self) -> str:
        return self.content.blob


Job = SealJob | KeepJob
