"""share_blob: a blob becomes available under a name in this node's share.

1. A name that has this very blob is success, one that means anything else is refused; nobody asks the shares.
2. The content is copied into the store and hashed as it is copied, so that the seal is short.
3. From there on it is a file that was closed: the sealer makes it durable and shares it with its record.

A call that fails or is cancelled leaves nothing that would be shared later: the blob is shared whole, or not
at all. (A seal that is just being done when its caller is cancelled is done.)
"""

import logging
import os
import stat
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from blobfs import errors
from blobfs.merkle import StreamHasher
from blobfs.model import BlobId, Name, split
from blobfs.record import MAX_BLOB_SIZE, BlobRecord, DirRecord, GoneRecord
from blobfs.store import sealed
from blobfs.store.incoming import Incoming
from blobfs.store.opening import Store
from blobfs.sync.disk import DiskThreads
from blobfs.sync.jobs import SealJob
from blobfs.sync.naming.namespace import Namespace
from blobfs.sync.sealer import Sealer
from blobfs.sync.space import Space

_log = logging.getLogger(__name__)

PIECE = 8 << 20
"""Bytes copied and hashed in one hop to a worker thread: a hop costs 50 µs, who cancels waits for one."""
FILE_MODE = 0o644
"""Of a blob that is given as bytes."""
DISCARD_WITHIN = 2.0
"""Seconds for removing what a call leaves; after them the next start of the store removes it."""


@dataclass(frozen=True, slots=True)
class Source:
    """The bytes to share. `fd` is -1 when they are in `content`."""

    content: bytes
    fd: int
    mode: int
    mtime_ns: int

    def read(self, offset: int) -> bytes | memoryview:
        """At most a piece, nothing only at the end. Blocks."""
        if self.fd < 0:
            return memoryview(self.content)[offset : offset + PIECE]
        with _caller_errors("what is to be shared cannot be read"):
            return os.pread(self.fd, PIECE, offset)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


class Sharing:
    """Shares blobs by name.

    `_under_way` are the names that calls are working on; none of them is equal to, above or below another,
    so what a call found out about its name stays true until it is done (the mount has rules of its own, and
    of two publications the last one counts, as ever).
    """

    def __init__(
        self, store: Store, disk: DiskThreads, namespace: Namespace, sealer: Sealer, space: Space
    ) -> None:
        self._store = store
        self._space = space
        self._disk = disk
        self._namespace = namespace
        self._sealer = sealer
        self._under_way: set[Name] = set()
        self._ended = trio.Condition()

    async def share(self, name: Name, blob: bytes | Path) -> BlobRecord:
        """The record under which it is shared, durable. Raises `OperationRefused` and `StoreError`."""
        async with self._alone(name):
            source = await self._disk.run(_open_source, blob)
            try:
                known = await self._known(name)
                if known is not None:
                    await self._demand_same(name, known, source)
                    if await self._disk.run(sealed.has, self._store, known.blob):
                        return known
                return await self._share(name, source)
            finally:
                source.close()

    @asynccontextmanager
    async def _alone(self, name: Name) -> AsyncIterator[None]:
        async with self._ended:
            while any(_are_related(name, other) for other in self._under_way):
                await self._ended.wait()
            self._under_way.add(name)
        try:
            yield
        finally:
            self._under_way.remove(name)
            with trio.CancelScope(shield=True):  # nobody keeps this lock over an await: it never waits
                async with self._ended:
                    self._ended.notify_all()

    async def _known(self, name: Name) -> BlobRecord | None:
        """The blob that the name means already. Raises where it means something else, or cannot be a name."""
        directory = split(name)[0]
        while directory:
            above = await self._namespace.entry(directory)
            if above is not None and not isinstance(above.record, GoneRecord | DirRecord):
                raise errors.NotADirectory(f"{directory} is not a directory")
            directory = split(directory)[0]
        entry = await self._namespace.entry(name)
        match entry.record if entry is not None else None:
            case None | GoneRecord():
                return None
            case BlobRecord() as record:
                return None if await self._namespace.is_outdated(name, record) else record
            case DirRecord():
                raise errors.IsADirectory(f"{name} is a directory")
            case _:
                raise errors.NameExists(f"{name} is a symlink")

    async def _demand_same(self, name: Name, known: BlobRecord, source: Source) -> None:
        hasher = StreamHasher()
        size = 0
        while size <= known.size and (count := await self._disk.run(_hash_piece, hasher, source, size)):
            size += count
        if size != known.size or await self._disk.run(_root_of, hasher) != known.blob:
            raise errors.NameExists(f"{name} is another blob: {known.blob}")

    async def _share(self, name: Name, source: Source) -> BlobRecord:
        incoming = await self._disk.run(Incoming.create, self._store)
        try:
            size = 0
            while count := await self._space.writing(self._disk.run, _copy_piece, incoming, source, size):
                size += count
        except BaseException:
            await self._discard(incoming)
            raise
        job = SealJob(incoming, name, source.mode, source.mtime_ns)
        self._sealer.submit(job)
        try:
            return await self._sealer.wait(job)
        except BaseException:
            await self._drop(job)
            raise

    async def _discard(self, incoming: Incoming) -> None:
        with trio.move_on_after(DISCARD_WITHIN, shield=True):
            try:
                await self._disk.run(incoming.discard)
            except errors.StoreError as failure:
                _log.warning("could not remove %s: %s", incoming, failure)

    async def _drop(self, job: SealJob) -> None:
        """The sealer would try a job that failed again and again: its caller has been told that it failed."""
        job.dropped = True
        with trio.move_on_after(DISCARD_WITHIN, shield=True):
            try:
                await self._sealer.wait_dropped(job)
            except errors.StoreError as failure:
                _log.warning("could not remove what is left of %s: %s", job, failure)


def _are_related(one: Name, other: Name) -> bool:
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def _open_source(blob: bytes | Path) -> Source:
    if isinstance(blob, bytes):
        return Source(blob, -1, FILE_MODE, time.time_ns())
    with _caller_errors(f"{blob} cannot be read"):
        # Without O_NONBLOCK the open of a FIFO would wait for its writer.
        fd = os.open(blob, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        os.close(fd)
        raise errors.InvalidArgument(f"{blob} is not a regular file")
    return Source(b"", fd, stat.S_IMODE(found.st_mode), found.st_mtime_ns)


@contextmanager
def _caller_errors(what: str) -> Iterator[None]:
    """It is the caller's file that cannot be read, not the store."""
    try:
        yield
    except (OSError, ValueError) as failure:  # ValueError: a NUL in the path
        reason = failure.strerror if isinstance(failure, OSError) else str(failure)
        raise errors.InvalidArgument(f"{what}: {reason}") from failure


def _hash_piece(hasher: StreamHasher, source: Source, offset: int) -> int:
    piece = source.read(offset)
    hasher.append(piece)
    return len(piece)


def _root_of(hasher: StreamHasher) -> BlobId:
    return hasher.finish().root


def _copy_piece(incoming: Incoming, source: Source, offset: int) -> int:
    piece = source.read(offset)
    if offset + len(piece) > MAX_BLOB_SIZE:
        raise errors.ContentTooLong(f"a blob has at most {MAX_BLOB_SIZE} bytes")
    if piece:
        incoming.write(offset, piece)
        while incoming.hash_some(PIECE):
            pass
    return len(piece)
