"""Opening the files of packages: whole ones as any blob, small ones that are missing out of a bundle."""

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from blobfs import errors
from blobfs.bundle import BUNDLED_UP_TO, Member
from blobfs.config.settings import LoadSettings
from blobfs.model import EMPTY_BLOB, BlobId
from blobfs.sync.bundles.reading import ContentReader, MemberReader, Ways
from blobfs.sync.loading.loads import Loads
from blobfs.sync.loading.reader import Reader
from blobfs.sync.packages.trees import PackageTrees


class BundleSource(Protocol):
    """What of `bundles.Bundles` is needed here."""

    def content_of(self, blob: BlobId) -> bytes | None:
        """What has arrived, is verified and is not in the store yet."""

    def read(self, blob: BlobId) -> bytes | None:
        """The same, for a program."""

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
        ways = Ways(
            here=partial(self.open_here, blob, size),
            bundle=partial(self.bring, package, blob),
            alone=partial(self.loads.open, blob, size, None, None),
        )
        return MemberReader(self.loads, self.settings, blob, size, ways)

    async def open_here(self, blob: BlobId, size: int) -> Reader | None:
        """None: it is not here, or not all of it."""
        if blob == EMPTY_BLOB:
            return ContentReader(b"")
        arrived = self.bundles.read(blob)
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
