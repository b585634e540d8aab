"""Publishing a package through its transaction: whatever the mount misses is written, until it is complete.

What is missing is asked again after every round, and what is not needed any more is no error: the same
blobs may come another way meanwhile, and the same package may be published by somebody else. A run that ends
early, for whatever reason, leaves the transaction open, and the next one writes only what is missing still.
Only a file that changed ends a transaction that this run has begun: nobody could complete it.
"""

import errno
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import closing, contextmanager
from functools import partial
from typing import Protocol

import click

from blobfs.bundle import Member, bundle_members
from blobfs.cli.bars import Bar, drawing
from blobfs.cli.pack_package import Package
from blobfs.cli.pack_problems import shown
from blobfs.cli.pack_progress import Progress
from blobfs.cli.pack_source import CHANGED, Source, SourceFailed
from blobfs.cli.pack_threads import PIECE, Hand, run_all
from blobfs.cli.pack_transaction import Opening
from blobfs.manifest import parse_manifest
from blobfs.merkle import Buffer
from blobfs.model import BlobId

BUNDLE_ABOVE = 64
"""Small blobs that must be missing for all of them to be written as one stream. Writing one by itself takes
four calls, about as long as 100 KB of the stream."""

MOST_ROUNDS = 3
"""Rounds in which the same blobs are missing though all of them were written."""

PAUSE = 0.1
"""Seconds between two looks at a transaction that misses nothing and is not complete yet."""
MOST_PAUSES = 600


GOES_ON = "the same command goes on from there"


class NeededBlobs(Protocol):
    """What `pack_transaction.Transaction` does, and the tests do without a mount."""

    def open(self) -> Opening: ...
    def is_complete(self) -> bool: ...
    def write_meta(self, manifest: bytes) -> None: ...
    def missing(self) -> list[BlobId] | None: ...
    def write_blob(self, blob: BlobId, size: int, pieces: Iterator[Buffer]) -> bool: ...
    def write_bundle(self, pieces: Iterator[Buffer]) -> bool: ...
    def state(self) -> str: ...
    def abort(self) -> None: ...


class Interrupted(click.ClickException):
    exit_code = 130
    """128 and SIGINT, as a shell shows it."""


class WriteFailed(click.ClickException):
    """The transaction stays open."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"{what}: {reason}; what was written is kept, {GOES_ON}")


class Publisher:
    """One run. Mutable: how many bytes it has written."""

    def __init__(
        self, transaction: NeededBlobs, source: Source, package: Package, threads: int, show_progress: bool
    ) -> None:
        self.written = 0
        self._transaction = transaction
        self._source = source
        self._package = package
        self._threads = threads
        self._shows_progress = show_progress
        self._tried_bundle = False
        self._turn = threading.Lock()

    def run(self) -> None:
        """Returns when the package is complete. Raises `SourceFailed`, and `ClickException` in one line."""
        with interrupts_tell(f"what was written is kept, {GOES_ON}"):
            opening = self._open()
            if opening is Opening.COMPLETE:
                return
            try:
                self._write_meta()
                self._write_missing()
            except SourceFailed:
                if opening is Opening.BEGUN:
                    self._transaction.abort()
                raise

    def _open(self) -> Opening:
        try:
            return self._transaction.open()
        except OSError as error:
            raise click.ClickException(f"the mount does not take a package: {error.strerror}") from error

    def _write_meta(self) -> None:
        try:
            self._transaction.write_meta(self._package.manifest)
        except OSError as error:
            raise WriteFailed("the manifest", error.strerror or str(error)) from error

    def _write_missing(self) -> None:
        missing = self._list()
        progress = Progress(len(missing or ()), self._size_of(missing or ()))
        with drawing(Bar("writing", progress, progress.bytes_text), self._shows_progress) as draw:
            rounds = 0
            while missing is not None:
                all_were_written = self._write_round(missing, progress, draw)
                before, missing = missing, self._list()
                rounds = rounds + 1 if missing == before and all_were_written else 0
                if missing is not None and rounds:
                    self._wait(missing, rounds)
        if not self._transaction.is_complete():
            raise click.ClickException(f"somebody aborted the transaction on {self._package.id}")

    def _list(self) -> set[BlobId] | None:
        try:
            listed = self._transaction.missing()
        except OSError as error:
            raise WriteFailed("what is missing cannot be listed", error.strerror or str(error)) from error
        if listed is None:
            return None
        missing = set(listed)
        if foreign := sorted(missing - self._package.holders.keys()):
            raise WriteFailed("a blob is missing that is in no file of this tree", foreign[0])
        return missing

    def _wait(self, missing: Set[BlobId], rounds: int) -> None:
        """For what the mount does by itself, as long as that may take."""
        state = self._transaction.state()
        if rounds > (MOST_ROUNDS if missing else MOST_PAUSES) or state.startswith("failed"):
            raise WriteFailed("the transaction does not end", state or f"{len(missing)} blobs are missing")
        time.sleep(PAUSE)

    def _size_of(self, blobs: Iterable[BlobId]) -> int:
        return sum(self._package.holders[blob].stamp.size for blob in blobs)

    def _write_round(self, missing: Set[BlobId], progress: Progress, draw: Callable[[], None]) -> bool:
        """Writes each once; the small ones, if they are many, as one stream beside the others.

        Whether that was all; what does not come with a stream is to be listed again.
        """
        members = self._members(missing)
        wanted = missing & {member.blob for member in members}
        works: list[Callable[[Hand], None]] = [
            partial(self._write_blob, blob, progress) for blob in sorted(missing - wanted)
        ]
        if members:
            works.insert(0, partial(self._write_bundle, members, wanted, progress))
        run_all(works, lambda work, hand: work(hand), self._threads, draw)
        return not members

    def _members(self, missing: Set[BlobId]) -> Sequence[Member]:
        """What the bundle holds, if so much of it is missing that it is worth it; at most once."""
        if self._tried_bundle or len(missing) <= BUNDLE_ABOVE:
            return ()
        members = bundle_members(parse_manifest(self._package.manifest))
        if sum(member.blob in missing for member in members) <= BUNDLE_ABOVE:
            return ()
        self._tried_bundle = True
        return members

    def _write_blob(self, blob: BlobId, progress: Progress, hand: Hand) -> None:
        file = self._package.holders[blob]

        def counted(pieces: Iterator[memoryview]) -> Iterator[Buffer]:
            for piece in pieces:
                hand.go_on()
                yield piece
                progress.add(len(piece))

        size = file.stamp.size
        with closing(self._source.read(file, hand.buffer)) as pieces, _told_of(file.path):
            if self._transaction.write_blob(blob, size, counted(pieces)):
                with self._turn:
                    self.written += size
        progress.add(0, files=1)

    def _write_bundle(
        self, members: Sequence[Member], wanted: Set[BlobId], progress: Progress, hand: Hand
    ) -> None:
        """Does nothing where the mount takes none."""

        def stream() -> Iterator[Buffer]:
            pending = bytearray()
            for member in members:
                for piece in self._source.read(self._package.holders[member.blob], hand.buffer):
                    pending += piece
                if member.blob in wanted:
                    progress.add(member.size, files=1)
                if len(pending) >= PIECE:
                    hand.go_on()
                    yield pending[:PIECE]
                    del pending[:PIECE]
            yield pending

        with _told_of(b""):
            if self._transaction.write_bundle(stream()):
                with self._turn:
                    self.written += sum(member.size for member in members)


@contextmanager
def _told_of(path: bytes) -> Iterator[None]:
    """Errors of writing a file to the mount, as they are told; ``b""`` stands for many small ones."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EBADMSG:
            raise SourceFailed(path, CHANGED if path else f"a small file: {CHANGED}") from error
        what = shown(path) if path else "the small files"
        raise WriteFailed(what, error.strerror or str(error)) from error


@contextmanager
def interrupts_tell(outcome: str) -> Iterator[None]:
    """Ctrl-C is one line that says how far it came."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; {outcome}") from None
