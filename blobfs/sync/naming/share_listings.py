"""What the shares say of a directory, as values: all together, and each for itself."""

from collections.abc import Collection
from dataclasses import dataclass

from blobfs.model import Attempt
from blobfs.record import LogRecord
from blobfs.sync.naming.known_logs import KnownLog
from blobfs.sync.naming.winning import winner
from blobfs.sync.peer import Peer


@dataclass(frozen=True, slots=True)
class Said:
    """What a share's kept log of a directory says of one name in it."""

    record: LogRecord | None
    read: float | None
    """When it was last read (trio's clock); None is never, or there is no such directory."""
    failure: Attempt | None
    """Why it could not be read since."""


@dataclass(frozen=True, slots=True)
class ShareListing:
    """How much of a directory's listing is one share's, and of when."""

    peer: Peer
    read: float | None
    """When its log was read to the end (trio's clock); None is never, or there is no such directory."""
    is_fresh: bool
    """It answered when it was asked last."""
    names: int
    """Tombstones among them."""
    failure: Attempt | None
    """Why it could not be read since."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A directory over all shares. What a name means is found out when it is asked for, not before."""

    logs: tuple[tuple[Peer, KnownLog], ...]
    exists: bool
    failures: tuple[Attempt, ...]

    @property
    def components(self) -> list[Collection[str]]:
        """Of each share, tombstones among them; they may grow while somebody reads on in that log."""
        return [known.reading.entries.keys() for _, known in self.logs]

    def records(self, component: str) -> list[tuple[LogRecord, Peer]]:
        """Every share's record of a component, in the order of the shares."""
        found = ((known.record(component), peer) for peer, known in self.logs)
        return [(record, peer) for record, peer in found if record is not None]

    @property
    def entries(self) -> dict[str, tuple[LogRecord, Peer]]:
        """The one that counts of each, all at once: for directories of few names."""
        names: set[str] = set().union(*self.components)
        return {component: winner(found) for component in names if (found := self.records(component))}
