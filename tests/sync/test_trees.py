"""Hash trees from shares that lie: nothing is verified with a node that the blob id does not vouch for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from blobfs import errors
from blobfs.merkle import DIGEST_SIZE, DIGESTS_PER_NODE, NODE_SIZE, Geometry
from blobfs.model import CHUNK_SIZE, LEAF_SIZE, BlobId, Outcome
from blobfs.shares.body import ByteStream
from blobfs.shares.failure import ShareFailure
from blobfs.store.opening import Store
from blobfs.store.partial import Partial, open_partial
from blobfs.store.tree_nodes import LEAVES_PER_CHUNK
from blobfs.sync.disk import DiskThreads
from blobfs.sync.loading.source import UPPER_LEVELS_AT_ONCE, MerkleSource
from blobfs.sync.peer import Peer
from tests.sync.fake_share import FakeShare, tree_of
from tests.sync.running import content, running
from tests.sync.samples import BLOB, CHUNKS, RAW, chunk, part, shares

LARGE = content(UPPER_LEVELS_AT_ONCE // DIGEST_SIZE * LEAF_SIZE + 5 * CHUNK_SIZE)
"""Its tree is too large for one request."""
TREE = tree_of(LARGE)
CHUNKS_PER_NODE = DIGESTS_PER_NODE // LEAVES_PER_CHUNK


class LyingShare(FakeShare):
    """Has bytes of any size to offer, whatever the record says."""

    def __init__(self, raw: bytes, tree: bytes) -> None:
        super().__init__("http://liar/")
        self.raw = raw
        self.tree_file = tree

    @asynccontextmanager
    async def blob(self, blob: BlobId, size: int, offset: int, length: int) -> AsyncIterator[ByteStream]:
        self.blobs[blob] = self.raw.ljust(size, b"\0")[:size]
        async with super().blob(blob, size, offset, length) as pieces:
            yield pieces

    async def tree(self, blob: BlobId, offset: int, length: int) -> bytes:
        self.trees[blob] = self.tree_file.ljust(offset + length, b"\0")
        return await super().tree(blob, offset, length)


def large(store: Store) -> tuple[Partial, MerkleSource]:
    partial = open_partial(store, TREE.root, len(LARGE))
    return partial, MerkleSource(TREE.root, len(LARGE), partial, DiskThreads(), store.hashing)


def large_chunk(number: int) -> bytes:
    return LARGE[number * CHUNK_SIZE : (number + 1) * CHUNK_SIZE]


async def test_a_wrong_tree_costs_a_request_and_strikes_its_share(store: Store) -> None:
    """P1, P5: the bytes, which were asked for at the same time, are not even read."""
    _, two = shares()
    one = FakeShare("http://one/", tree="w")
    one.add_blob(RAW)
    async with running(store, one, two) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        assert await reader.read(0, len(RAW)) == RAW
        reader.close()
    assert one.counts() == {"tree": 1, "blob": 1}
    assert two.counts() == {"tree": 1, "blob": 1}


async def test_a_tree_of_another_blob_proves_nothing(store: Store) -> None:
    """A share that has a consistent tree and the bytes to match, but of another blob, gives nothing."""
    other = content(len(RAW), seed=99)
    liar = LyingShare(other, tree_of(other).tree)
    async with running(store, liar) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        with pytest.raises(errors.WrongEverywhere):
            await reader.read(*chunk(0))
        load = sync.loads.load_of(BLOB)
        assert load is not None
        assert load.partial.present_bytes == 0
        reader.close()
    assert not any(store.layout.partial_content(BLOB).read_bytes())


async def test_right_top_nodes_with_wrong_nodes_below_prove_nothing(store: Store) -> None:
    """Each node is verified with the one above it; what is right of a wrong tree may be kept."""
    geometry = Geometry(len(RAW))
    assert len(geometry.levels) == 2
    bottom = geometry.levels[0]
    right = tree_of(RAW).tree
    wrong = right[: bottom.offset] + bytes([right[bottom.offset] ^ 1]) + right[bottom.offset + 1 :]
    liar, honest = LyingShare(RAW, wrong), shares()[0]
    async with running(store, liar, honest) as sync:
        reader = await sync.loads.open(BLOB, len(RAW), None, None)
        assert await reader.read(*chunk(0)) == part(0)
        reader.close()
    assert liar.counts()["blob"] == 1
    assert honest.counts() == {"tree": 1, "blob": 1}


@pytest.mark.parametrize(
    "size",
    [len(RAW) - 1, len(RAW) + 1, len(RAW) - LEAF_SIZE, len(RAW) + LEAF_SIZE, len(RAW) + CHUNK_SIZE, 100],
)
async def test_a_record_with_another_size_is_found_out(store: Store, size: int) -> None:
    """However the bytes and the tree are padded or cut, the end of the blob is never read as right."""
    liar = LyingShare(RAW, tree_of(RAW).tree)
    async with running(store, liar) as sync:
        reader = await sync.loads.open(BLOB, size, None, None)
        with pytest.raises(errors.WrongEverywhere):
            await reader.read(0, size)
        reader.close()
    assert not store.layout.blob(BLOB).exists()


async def test_only_the_nodes_on_the_path_are_fetched(store: Store) -> None:
    """Of a large tree a reader in its middle needs the top and one node."""
    share = FakeShare()
    share.add_blob(LARGE)
    partial, source = large(store)
    bottom = Geometry(len(LARGE)).levels[0]
    await source.prepare(Peer(share), CHUNKS_PER_NODE * 3, CHUNKS_PER_NODE * 3 + 1, ahead=False)
    assert sorted(share.ranges("tree")) == [(0, bottom.offset), (bottom.offset + 3 * NODE_SIZE, NODE_SIZE)]
    assert source.is_right(CHUNKS_PER_NODE * 3, large_chunk(CHUNKS_PER_NODE * 3))
    partial.close()


async def test_a_wrong_tree_never_replaces_nodes_that_were_verified(store: Store) -> None:
    """Spans that use them go on: a liar's nodes are checked before they are written."""
    honest, liar = FakeShare(), LyingShare(LARGE, bytes(range(256)) * (len(TREE.tree) // 256 + 1))
    honest.add_blob(LARGE)
    partial, source = large(store)
    await source.prepare(Peer(honest), 0, 1, ahead=False)
    before = partial.read_tree(0, len(TREE.tree))
    with pytest.raises(ShareFailure) as caught:
        await source.prepare(Peer(liar), 0, partial.chunks, ahead=False)
    assert caught.value.attempt.outcome is Outcome.WRONG
    assert partial.read_tree(0, len(TREE.tree)) == before
    assert source.is_right(0, large_chunk(0))
    partial.close()


async def test_of_a_tree_that_is_half_right_the_right_nodes_are_kept(store: Store) -> None:
    """They are vouched for, wherever they came from; the next share is asked for the rest only."""
    bottom = Geometry(len(LARGE)).levels[0]
    spoilt = bytearray(TREE.tree)
    spoilt[bottom.offset + NODE_SIZE + 7] ^= 1
    liar, honest = LyingShare(LARGE, bytes(spoilt)), FakeShare()
    honest.add_blob(LARGE)
    partial, source = large(store)
    with pytest.raises(ShareFailure):
        await source.prepare(Peer(liar), 0, partial.chunks, ahead=False)
    await source.prepare(Peer(honest), 0, partial.chunks, ahead=False)
    assert honest.ranges("tree") == [(bottom.offset + NODE_SIZE, NODE_SIZE)]
    assert partial.read_tree(0, len(TREE.tree)) == TREE.tree
    partial.close()


async def test_nodes_of_an_earlier_run_are_verified_before_they_are_used(store: Store) -> None:
    """What a crash spoilt in the tree file is fetched again, the rest is not."""
    bottom = Geometry(len(LARGE)).levels[0]
    partial, _ = large(store)
    partial.write_tree(0, TREE.tree)
    partial.write_tree(bottom.offset + 5, b"spoilt")
    partial.save_map()
    partial.close()
    share = FakeShare()
    share.add_blob(LARGE)
    partial, source = large(store)
    await source.prepare(Peer(share), CHUNKS_PER_NODE, CHUNKS_PER_NODE + 1, ahead=False)
    assert share.asked == []
    await source.prepare(Peer(share), 0, 1, ahead=False)
    assert share.ranges("tree") == [(bottom.offset, NODE_SIZE)]
    assert source.is_right(0, large_chunk(0))
    partial.close()


def test_the_sample_is_what_the_tests_above_need() -> None:
    """Several levels, several nodes, and a bottom level larger than one request for the upper ones."""
    assert CHUNKS > 8
    assert Geometry(len(LARGE)).tree_size > UPPER_LEVELS_AT_ONCE
    assert Geometry(len(LARGE)).levels[0].nodes > 4
