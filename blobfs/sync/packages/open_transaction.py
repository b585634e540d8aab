"""One open transaction as its tasks see it: what has arrived for it, who writes for it, who waits."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import trio

from blobfs import errors
from blobfs.bundle import Member
from blobfs.model import BlobId
from blobfs.sync.jobs import SealJob
from blobfs.sync.packages.transaction import Transaction
from blobfs.sync.packages.transition import ENDS, State

_log = logging.getLogger(__name__)


class OpenTransaction:
    """`known` and what is on the disk are changed by the task that tends it, under `lock`; `end` is final.

    `writers` counts the descriptors that write for it, `jobs` are what they have sent to the sealer,
    `written` the blobs that came this way.
    """

    def __init__(self, package: BlobId, progress_ns: int) -> None:
        self.package = package
        self.known = Transaction(package)
        self.progress_ns = progress_ns
        """When the last blob was taken; wall time, for it outlives the process."""
        self.ready = trio.Event()
        """Set when it is known what is here."""
        self.refusal: errors.BlobfsError | None = None
        """Why it could not be opened."""
        self.trouble: errors.StoreError | None = None
        """What keeps it from going on, for the moment."""
        self.lock = trio.Lock()
        self.writers = 0
        self.jobs: set[SealJob] = set()
        self.written: set[BlobId] = set()
        self.meta_size: int | None = None
        """Bytes of the package's meta blob; None until it is here."""
        self.bundled: dict[BlobId, Sequence[Member]] = {}
        """By package, nested ones too: what its bundle will hold."""
        self._arrived: dict[BlobId, None] = {}
        self._looked_at: set[BlobId] = set()
        """What arrived and is being taken."""
        self._stirred = trio.Event()
        self._changed = trio.Event()
        self._waits: set[trio.CancelScope] = set()
        self._is_refused = False

    def __repr__(self) -> str:
        return f"<OpenTransaction {self.known!r} writers={self.writers} arrived={len(self._arrived)}>"

    @property
    def has_ended(self) -> bool:
        return self._is_refused or self.known.state in ENDS

    @property
    def state(self) -> State:
        return self.known.state

    @property
    def members(self) -> Sequence[Member]:
        """Of the package's bundle."""
        return self.bundled.get(self.package, ())

    @property
    def has_failed(self) -> bool:
        return self.known.state is State.FAILED

    # For the task that tends it

    def arrived(self, blob: BlobId) -> None:
        """A blob is in the store, by whatever way. What was in the way may be over."""
        self._arrived[blob] = None
        if not self.has_failed:
            self.trouble = None
        self._stirred.set()

    def take_arrived(self) -> list[BlobId]:
        """Those that arrived since the last call and are missing."""
        arrived, self._arrived = self._arrived, {}
        self._looked_at.update(arrived)
        return [blob for blob in arrived if self.known.is_missing(blob)]

    def put_back(self, blobs: Iterable[BlobId]) -> None:
        """They could not be taken yet: the next round tries again."""
        self._arrived.update(dict.fromkeys(blobs))

    @property
    def has_arrived(self) -> bool:
        return bool(self._arrived)

    def fail(self, blob: BlobId, reason: str) -> None:
        """A blob that no writer can mend."""
        self.known.fail(blob, reason)
        _log.warning("the transaction on %s failed: %s", self.package, self.known.failure)

    def break_off(self) -> None:
        """A defect: nobody tends it any more. Whoever waits is told; it can be aborted."""
        self.known.fail(self.package, "unexpected; see the log")
        self.trouble = errors.StoreBroken(f"the transaction on {self.package} was broken off; see the log")
        self.known.note_defect(self.trouble)
        self.tell()

    def tell(self) -> None:
        """Something changed: what was looked at is taken, put back, or not here."""
        self._looked_at.clear()
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    def refuse(self, failure: errors.BlobfsError) -> None:
        """It could not be opened."""
        self.refusal, self._is_refused = failure, True
        self.ready.set()

    def end(self) -> None:
        """Complete or aborted: nobody waits any more."""
        for scope in self._waits:
            scope.cancel()
        self._stirred.set()
        self.tell()

    def calm(self) -> None:
        """What arrives from now on stirs it again."""
        self._stirred = trio.Event()

    async def wait_stirred(self) -> None:
        await self._stirred.wait()

    # For those who wait

    @contextmanager
    def ended_with(self) -> Iterator[None]:
        """Around a wait that the end of the transaction ends. Raises `TransactionAborted` if it was that."""
        with trio.CancelScope() as scope:
            self._waits.add(scope)
            try:
                yield
            finally:
                self._waits.discard(scope)
        if scope.cancelled_caught:
            self.demand_alive()

    @contextmanager
    def noting(self, blob: BlobId | None = None) -> Iterator[None]:
        """Around a writer's call: what the disk says to it is the transaction's last error."""
        try:
            yield
        except errors.StoreError as failure:
            if failure is not self.trouble:  # else it is noted
                self.known.note(failure, blob)
            raise

    def demand_alive(self) -> None:
        if self.state is State.ABORTED:
            raise errors.TransactionAborted(f"the transaction on {self.package} was aborted")

    async def wait_taken(self, blob: BlobId) -> None:
        """Until a blob that is in the store is taken; of the last one, until the package is complete.

        Raises `WrongContent` for a meta blob that cannot be used, `TransactionAborted`, `StoreError`; the
        latter also for a blob that left the store before it was taken.
        """
        while not self._is_taken(blob):
            if self.known.is_missing(blob) and blob not in self._arrived and blob not in self._looked_at:
                raise errors.StoreBroken(f"the blob {blob} was here and is not any more")
            await self._changed.wait()

    def _is_taken(self, blob: BlobId) -> bool:
        self.demand_alive()
        if self.trouble is not None:
            raise self.trouble
        match self.state:
            case State.COMPLETE:
                return True
            case State.FAILED:
                if self.known.needs[blob].is_meta:
                    raise errors.WrongContent(f"{self.package} has failed: {self.known.failure}")
                return True
        return not self.known.is_missing(blob) and not self.known.nothing_but(())

    async def wait_settled(self) -> None:
        """Until it has ended, failed, or waits for blobs."""
        await self.ready.wait()
        while not self.has_ended and self.trouble is None and self.known.nothing_but(()):
            await self._changed.wait()
