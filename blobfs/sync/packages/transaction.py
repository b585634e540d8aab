"""One transaction's knowledge: what it needs, what is missing of it. No I/O, no trio.

A package needs its meta blob; a meta blob names content blobs and the meta blobs of nested packages, so
what is needed grows as meta blobs come. A blob that several files or packages name is needed once. That no
package can contain itself follows from what an id is; how deep they nest is limited.
"""

import bisect
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from blobfs import errors
from blobfs.manifest import MAX_NESTING, Manifest
from blobfs.model import BlobId
from blobfs.sync.packages.transition import Event, State, step


class Unusable(Exception):
    """A manifest that no writer can mend; says why."""


@dataclass(frozen=True, slots=True)
class Need:
    """A blob that belongs to a package."""

    size: int | None
    """Bytes; None for a meta blob, whose size no manifest tells unless it is some file's content too."""
    depth: int | None
    """Of a meta blob: how many packages it is nested in. None for content."""

    @property
    def is_meta(self) -> bool:
        return self.depth is not None


@dataclass(frozen=True, slots=True)
class LastError:
    """The last thing that went wrong, in the words of the protocol."""

    status: str
    errno: int
    blob: BlobId | None
    message: str


class Transaction:
    """What is known of one package. `needs` only grows; `missing` is a part of it, by id.

    Changed by `apply` and `grow` alone.
    """

    def __init__(self, package: BlobId) -> None:
        self.package = package
        self.state = State.NEED_META
        self.needs: dict[BlobId, Need] = {package: Need(None, 0)}
        self.last_error: LastError | None = None
        self.failure: str | None = None
        """Why it failed; whoever makes a mistake later changes `last_error` only."""
        self._missing: list[BlobId] = [package]
        self._is_missing: set[BlobId] = {package}

    def __repr__(self) -> str:
        return f"<Transaction {self.package[:12]} {self.summary}>"

    @property
    def summary(self) -> str:
        """One line, as the file ``state`` shows it: what is missing, of how many besides the meta blob."""
        if self.state is State.NEED_BLOBS:
            return f"{self.state} {len(self._missing)} of {len(self.needs) - 1}"
        if self.state is State.FAILED:
            return f"{self.state}: {self.failure}"
        return self.state

    def missing(self) -> list[BlobId]:
        """The blobs a client is to write, sorted; not the meta blob, which stands elsewhere."""
        return [] if self.package in self._is_missing else list(self._missing)

    def is_missing(self, blob: BlobId) -> bool:
        return blob in self._is_missing

    def nothing_but(self, blobs: Collection[BlobId]) -> bool:
        """Whether nothing else is missing."""
        return len(self._is_missing) <= len(blobs) and self._is_missing.issubset(blobs)

    # What is asked

    def demand(self, event: Event) -> None:
        """Raises what the table says to an event; changes nothing."""
        rule = step(self.state, event)
        if rule.error is not None:
            raise rule.error(f"{self.package} is {self.summary}: {rule.status}")

    def demand_open(self, blob: BlobId) -> None:
        """Whether a blob may be opened for writing."""
        self.demand(Event.OPEN_NEEDED if self.is_missing(blob) else Event.OPEN_OTHER)

    # What happens

    def grown_by(self, meta: BlobId, manifest: Manifest) -> dict[BlobId, Need]:
        """What a manifest needs that is not known yet. Raises `Unusable`."""
        depth = (self.needs[meta].depth or 0) + 1
        grown: dict[BlobId, Need] = {}
        for blob, size in manifest.blobs().items():
            known = self.needs.get(blob)
            if known is None or known.size is None:
                grown[blob] = Need(size, None if known is None else known.depth)
            elif known.size != size:
                raise Unusable(f"one manifest gives {blob} {known.size} bytes, another {size}")
        for package in manifest.packages():
            if depth > MAX_NESTING:
                raise Unusable(f"packages are nested more than {MAX_NESTING} deep")
            known = grown.get(package) or self.needs.get(package)
            if known is None or not known.is_meta:
                grown[package] = Need(None if known is None else known.size, depth)
        return grown

    def grow(self, grown: Mapping[BlobId, Need], absent: Collection[BlobId]) -> None:
        """Adds what `grown_by` gave; `absent` are those of it that are not here."""
        self.needs.update(grown)
        new = self._is_missing.union(absent)
        if len(new) > len(self._is_missing):
            self._is_missing = new
            self._missing = sorted(new)

    def take(self, blob: BlobId, *, written: bool) -> None:
        """A blob is here and held. What its manifest needs was added before."""
        if blob in self._is_missing:
            self._is_missing.discard(blob)
            del self._missing[bisect.bisect_left(self._missing, blob)]
        if self._is_missing:
            self._apply(Event.WRITTEN if written else Event.APPEARED)

    def complete(self, *, written: bool) -> None:
        """Nothing is missing, and that is on the disk."""
        self._apply(Event.WRITTEN_LAST if written else Event.APPEARED_LAST)

    def reject(self, blob: BlobId, error: errors.BlobfsError) -> None:
        """Bytes that are not the blob's: it can be tried again."""
        rule = step(self.state, Event.REJECTED)
        self._note(rule.status, error, blob)
        self.state = rule.state

    def fail(self, blob: BlobId, reason: str) -> errors.BlobfsError:
        """A blob that can never be used as the manifests have it; the error is what its writer is told."""
        rule = step(self.state, Event.UNUSABLE)
        error = (rule.error or errors.WrongContent)(f"the blob {blob} cannot be used: {reason}")
        self.failure = self.failure or str(error)
        self._note(rule.status, error, blob)
        self.state = rule.state
        return error

    def abort(self, event: Event = Event.ABORT) -> None:
        """Ends it; also `Event.EXPIRE`. Raises what the table says."""
        self.demand(event)
        self._apply(event)

    def note(self, failure: errors.StoreError, blob: BlobId | None = None) -> None:
        """The disk refused something, which is no event."""
        is_full = isinstance(failure, errors.StoreFull | errors.QuotaExceeded)
        self._note("OUT_OF_SPACE" if is_full else "UNSPECIFIED_IO", failure, blob)

    def note_defect(self, error: errors.BlobfsError) -> None:
        """Nor is that one."""
        self._note("INTERNAL", error, None)

    def _note(self, status: str, error: errors.BlobfsError, blob: BlobId | None) -> None:
        self.last_error = LastError(status, error.errno, blob, str(error))

    def _apply(self, event: Event) -> None:
        self.state = step(self.state, event).state
