"""Opening the files of packages: whole ones as any blob, small ones that are missing out of a bundle.

A bundle brings a file's neighbours along in one request. That is decided at the first read, because `open`
asks no share; a program that opens many files and reads one costs one request.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import trio

from blobfs import errors
from blobfs.bundle import BUNDLED_UP_TO, Member
from blobfs.config.settings import LoadSettings
from blobfs.model import EMPTY_BLOB, BlobId
from blobfs.store.files import Buffer
from blobfs.sync.loading.loads import Loads
from blobfs.sync.loading.reader import Reader
from blobfs.sync.packages.trees import PackageTrees

WORTH_BEGINNING = 0.1
"""Seconds; for who waits less no bundle is asked for. He would be gone before that is under way, each time
anew; but a load goes on once he has begun it."""


class BundleSource(Protocol):
    """What of `bundles.Bundles` is needed here."""

    def content_of(self, blob: BlobId) -> bytes | None:
        """What has arrived, is verified and is not in the store yet."""

    async def bring(self, package: BlobId, members: Sequence[Member], blob: BlobId) -> bytes | None:
        """A blob out of a share's bundle; None: it must be loaded on its own."""


class PackageFiles:
    """Opens them, and says how much of one is here. Has no state of its own."""

    def __init__(
        self, trees: PackageTrees, bundles: BundleSource, loads: Loads, settings: LoadSettings
    ) -> None:
        self.trees = trees
        self.bundles = bundles
        self.loads = loads
        self.settings = settings

    async def open(self, package: BlobId, blob: BlobId, size: int) -> Reader:
        """A reader of a file whose manifest gives it this blob and size. Asks no share."""
        reader = await self.open_here(blob, size)
        if reader is not None:
            return reader
        if size > BUNDLED_UP_TO or self.loads.load_of(blob) is not None:
            return await self.loads.open(blob, size, None, None)
        return MemberReader(self, package, blob, size)

    async def open_here(self, blob: BlobId, size: int) -> Reader | None:
        """None: it is not here, or not all of it."""
        if blob == EMPTY_BLOB:
            return ContentReader(b"")
        arrived = self.bundles.content_of(blob)
        if arrived is None:
            return await self.loads.open_here(blob, size)
        self.loads.reads.here += 1  # it is small, and read at once
        return ContentReader(arrived)

    async def bring(self, package: BlobId, blob: BlobId) -> bytes | None:
        """A small blob out of the package's bundle, if it has one."""
        try:
            tree = await self.trees.tree(package, ask_shares=True)
        except (errors.LoadFailed, errors.WrongContent):
            return None  # it was seen a moment ago; the load of the blob finds words for what is wrong
        if not tree.is_bundled(blob):
            return None
        return await self.bundles.bring(package, tree.members, blob)

    def present_bytes(self, blob: BlobId, size: int) -> int:
        """How much of a file is here; cheap."""
        if blob == EMPTY_BLOB or self.bundles.content_of(blob) is not None:
            return size
        return self.loads.present_bytes(blob, size)


class ContentReader:
    """Bytes that are in memory."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    @property
    def size(self) -> int:
        return len(self._content)

    async def read(self, offset: int, length: int, *, wait: float = math.inf) -> Buffer:
        return self._content[offset : offset + length]

    def close(self) -> None:
        """Nothing to let go of."""


class MemberReader:
    """A small blob that was not here when it was opened.

    `_reader` is set by the first read, once it is known where the bytes come from. A wait that was too long
    is remembered for a moment: the kernel asks again for a read that failed.
    """

    def __init__(self, files: PackageFiles, package: BlobId, blob: BlobId, size: int) -> None:
        self._files = files
        self._package = package
        self._blob = blob
        self._size = size
        self._reader: Reader | None = None
        self._error: errors.LoadFailed = errors.DeadlineExceeded("not here yet")
        self._overdue_until = -math.inf

    @property
    def size(self) -> int:
        return self._size

    async def read(self, offset: int, length: int, *, wait: float = math.inf) -> Buffer:
        if trio.current_time() < self._overdue_until:
            raise self._error
        longest = self._files.settings.read_timeout
        with trio.move_on_after(longest):
            until = trio.current_time() + wait
            reader = self._reader or await self._find(until)
            return await reader.read(offset, length, wait=max(until - trio.current_time(), 0))
        attempts = self._files.loads.last_attempts(self._blob)
        raise self._remembered(errors.DeadlineExceeded(f"not here after {longest:.3g} s", attempts))

    async def _find(self, until: float) -> Reader:
        """Sets `_reader`. Of two reads at once the first to know decides."""
        reader = await self._open(until)
        if self._reader is None:
            self._reader = reader
        else:
            reader.close()
        return self._reader

    async def _open(self, until: float) -> Reader:
        reader = await self._files.open_here(self._blob, self._size)
        if reader is not None:
            return reader  # it came with one of its neighbours
        if until - trio.current_time() >= WORTH_BEGINNING:
            content = None
            self._files.loads.reads.waited += 1
            with trio.move_on_at(until) as waiting:
                content = await self._files.bring(self._package, self._blob)
            if waiting.cancelled_caught:
                wrong = "not here yet, and the file was opened with O_NONBLOCK"
                raise self._remembered(errors.WouldBlock(wrong))
            if content is not None:
                return ContentReader(content)
        return await self._files.loads.open(self._blob, self._size, None, None)

    def _remembered(self, error: errors.LoadFailed) -> errors.LoadFailed:
        self._error = error
        self._overdue_until = trio.current_time() + self._files.settings.failure_memory
        return error

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
