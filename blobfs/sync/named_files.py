"""Opening named files of other nodes: small ones that are missing come out of their directory's bundles.

What came so is given out from memory at once. Its name is shared in turn in a group, behind the readers.
"""

from functools import partial

from blobfs.config.settings import LoadSettings
from blobfs.directory_bundles import is_small
from blobfs.model import Name
from blobfs.record import BlobRecord
from blobfs.sync.bundles.bundles import Bundles
from blobfs.sync.bundles.directories import DirectoryBundles
from blobfs.sync.bundles.reading import ContentReader, MemberReader, Ways
from blobfs.sync.loading.loads import Loads
from blobfs.sync.loading.reader import Reader
from blobfs.sync.naming.adopting import Adopting
from blobfs.sync.naming.catalogue import Catalogue
from blobfs.sync.naming.namespace import Namespace


class NamedFiles:
    """Opens them. What waits to be shared is `adopting`'s, what is known of bundles `directories`'."""

    def __init__(
        self,
        loads: Loads,
        bundles: Bundles,
        catalogue: Catalogue,
        namespace: Namespace,
        settings: LoadSettings,
    ) -> None:
        self.adopting = Adopting(namespace, bundles.settled)
        self.directories = DirectoryBundles(catalogue, bundles, settings)
        self._loads = loads
        self._bundles = bundles
        self._settings = settings

    async def open(self, name: Name, record: BlobRecord) -> Reader:
        """A reader of another node's file, which is shared in turn. Asks no share."""
        if not is_small(record.size):
            return await self._open_alone(name, record)
        arrived = self._arrived(name, record)
        if arrived is not None:
            return arrived
        if self._loads.load_of(record.blob) is not None or not self.directories.may_bring(name, record.blob):
            return await self._open_alone(name, record)
        reader = await self._open_here(name, record)
        if reader is not None:
            return reader
        ways = Ways(
            here=partial(self._open_here, name, record),
            bundle=partial(self._bring, name, record),
            alone=partial(self._open_alone, name, record),
        )
        return MemberReader(self._loads, self._settings, record.blob, record.size, ways)

    async def _open_alone(self, name: Name, record: BlobRecord) -> Reader:
        return await self._loads.open(record.blob, record.size, name, record)

    def _arrived(self, name: Name, record: BlobRecord) -> Reader | None:
        """What came in a bundle, and is not in the store yet."""
        content = self._bundles.read(record.blob)
        if content is None or len(content) != record.size:
            return None
        self._loads.reads.here += 1  # it is small, and read at once
        self.adopting.submit(name, record)
        return ContentReader(content)

    async def _open_here(self, name: Name, record: BlobRecord) -> Reader | None:
        arrived = self._arrived(name, record)
        if arrived is not None:
            return arrived
        reader: Reader | None = await self._loads.open_here(record.blob, record.size)
        if reader is not None and not await self.adopting.is_known(name, record):
            self.adopting.submit(name, record)
        return reader

    async def _bring(self, name: Name, record: BlobRecord) -> bytes | None:
        content = await self.directories.bring(name, record.blob)
        if content is None or len(content) != record.size:
            return None
        self.adopting.submit(name, record)
        return content
