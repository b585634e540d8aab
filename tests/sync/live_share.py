"""Nodes in virtual time that load from a source and from each other: what one has, the others can ask for."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import trio

from blobfs.chunks import full_bits
from blobfs.config.settings import LoadSettings
from blobfs.model import CHUNK_SIZE, BlobId, Kind
from blobfs.shares.body import ByteStream
from blobfs.store.opening import open_store
from tests.sync.fake_share import FakeShare
from tests.sync.virtual import Node, node


class LiveShare(FakeShare):
    """A node's own share, served as it is loaded. `node` is set when it runs."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.present = {}
        self.node: Node | None = None

    async def parts(self, blob: BlobId, size: int) -> bytes | None:
        async with self._answering("parts", blob):
            part = None if self.node is None else self.node.sync.loads.part_of(blob)
            if part is not None:
                return part.present_bits()
            return None if self._whole(blob) is None else full_bits(size)

    @asynccontextmanager
    async def blob(self, blob: BlobId, size: int, offset: int, length: int) -> AsyncIterator[ByteStream]:
        async with self._answering("blob", blob, offset, length) as letter:
            part = None if self.node is None else self.node.sync.loads.part_of(blob)
            first, stop = offset // CHUNK_SIZE, -(-(offset + length) // CHUNK_SIZE)
            if part is not None and part.all_present(first, stop - first):
                yield self._pieces(letter, part.read(offset, length))
            elif (whole := self._whole(blob)) is not None:
                yield self._pieces(letter, whole.read_bytes()[offset : offset + length])
            else:
                raise self._failure("blob", Kind.ABSENT, "HTTP 404")

    def _whole(self, blob: BlobId) -> Path | None:
        path = None if self.node is None else self.node.sync.store.layout.blob(blob)
        return path if path is not None and path.exists() else None


@asynccontextmanager
async def fleet(
    directory: Path, source: FakeShare, *shares: LiveShare, settings: LoadSettings
) -> AsyncIterator[list[Node]]:
    """A node for each share, which knows the source and the others' shares."""
    async with AsyncExitStack() as stack:
        nodes = []
        for number, share in enumerate(shares):
            store = open_store(directory / f"store-{number}")
            stack.callback(store.close, clean=False)
            others = [other for other in shares if other is not share]
            share.node = await stack.enter_async_context(node(store, source, *others, settings=settings))
            nodes.append(share.node)
        yield nodes
        for share in shares:
            share.node = None
        await trio.lowlevel.checkpoint()
