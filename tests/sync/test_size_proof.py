"""The size of a blob known by its id only: one share's word is not enough where another may know better."""

import pytest

from blobfs import errors
from blobfs.config.settings import LoadSettings
from blobfs.model import CHUNK_SIZE, LEAF_SIZE, BlobId
from blobfs.sync.naming.catalogue import Catalogue
from blobfs.sync.peer import Peer
from blobfs.sync.size_proof import proves_size
from tests.sync.fake_share import FakeShare
from tests.sync.running import content

SIZES = [1, LEAF_SIZE, LEAF_SIZE + 1, CHUNK_SIZE - 1, 256 * LEAF_SIZE, 256 * LEAF_SIZE + 1, 3 << 20]


class Boaster(FakeShare):
    """Adds to the size of what it has, and pads the bytes and the trees to match."""

    more = 1

    async def blob_size(self, blob: BlobId) -> int | None:
        size = await super().blob_size(blob)
        return None if size is None else size + self.more

    async def tree(self, blob: BlobId, offset: int, length: int) -> bytes:
        self.trees[blob] = self.trees[blob].ljust(offset + length, b"\0")
        return await super().tree(blob, offset, length)


@pytest.mark.parametrize("size", SIZES)
async def test_the_last_leaf_and_the_nodes_above_it_prove_the_size(size: int) -> None:
    """The true size is proved by a few KiB, another one is not, be it near or far."""
    raw = content(size)
    share = FakeShare()
    blob = share.add_blob(raw)
    assert await proves_size(share, blob, size)
    assert share.received <= 4 * LEAF_SIZE
    for wrong in {size - 1, size + 1, size + LEAF_SIZE, max(size - LEAF_SIZE, 1), 2 * size} - {0, size}:
        liar = Boaster()
        liar.trees[blob] = share.trees[blob]
        liar.blobs[blob] = raw.ljust(wrong, b"\0")[:wrong]
        assert not await proves_size(liar, blob, wrong)


async def test_a_lying_share_is_struck_and_the_other_one_is_believed() -> None:
    """P5: whoever answers first."""
    raw = content(70_000)
    liar, honest = Boaster("http://liar/"), FakeShare("http://honest/", size="g")
    blob = liar.add_blob(raw)
    liar.blobs[blob] = raw
    honest.add_blob(raw)
    peers = [Peer(liar), Peer(honest)]
    liar.on_piece = honest.gate.set
    liar.blobs[blob] = raw + b"\0"
    liar.more = 0
    assert await Catalogue(peers, LoadSettings()).blob_size(blob) == len(raw)
    assert [peer.is_struck for peer in peers] == [True, False]


async def test_when_every_share_lies_it_is_wrong_everywhere() -> None:
    """EBADMSG: not absent, and no size that cannot be."""
    raw = content(20_000)
    liars = [Boaster("http://one/"), Boaster("http://two/")]
    for liar in liars:
        blob = liar.add_blob(raw)
        liar.blobs[blob] = raw + b"\0"
        liar.more = 0
    with pytest.raises(errors.WrongEverywhere):
        await Catalogue([Peer(liar) for liar in liars], LoadSettings()).blob_size(blob)
