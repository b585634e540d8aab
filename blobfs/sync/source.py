"""Where a load's bytes come from and what makes them trustworthy.

A `MerkleSource` takes chunks of a blob from any share and lets none pass that its id does not
vouch for. A `PlainSource` takes them from the one plain share that has the file, pinned to one
version of it; nothing vouches for them.
"""

import hashlib
from typing import Protocol

import trio

from blobfs import merkle
from blobfs.model import CHUNK_SIZE, LEAF_SIZE, BlobId, Name
from blobfs.shares.plain import PlainFile
from blobfs.store.partial import Partial
from blobfs.sync.disk import DiskThreads
from blobfs.sync.peer import Body, Peer

LEAVES_PER_CHUNK = CHUNK_SIZE // LEAF_SIZE
UPPER_LEVELS_AT_ONCE = 64 * 1024
"""Up to so many bytes of upper tree levels are fetched in one request: round trips cost more."""
TREE_REQUEST = 1 << 20
"""The most tree bytes asked for in one request."""


class Source(Protocol):
    """What a load needs to know of the place its bytes come from."""

    size: int

    def offers(self, peer: Peer) -> bool:
        """Whether it makes sense to ask this share."""

    async def prepare(self, peer: Peer | None, first: int, stop: int) -> bool:
        """Gets what the chunks first to stop will be verified with: from the disk, or else from a share.

        Whether it is here; only without a share it may not be. Raises `ShareFailure`.
        """

    def body(self, peer: Peer, offset: int, length: int) -> Body:
        """Asks for bytes."""

    def is_right(self, first: int, content: bytes) -> bool:
        """Whether whole chunks are what they should be; what they are verified with is prepared. Blocks."""

    def keep(self, first: int, content: bytes) -> bool:
        """Verifies whole chunks and writes them; False when they are wrong. Blocks."""


class MerkleSource:
    """A blob by its id. `_verified` holds the tree's nodes that are known to be right, per level."""

    def __init__(self, blob: BlobId, size: int, partial: Partial, disk: DiskThreads) -> None:
        self.size = size
        self._blob = blob
        self._partial = partial
        self._disk = disk
        self._geometry = merkle.Geometry(size)
        self._verified: dict[int, set[int]] = {level.number: set() for level in self._geometry.levels}
        self._lock = trio.Lock()
        self._resumed = partial.is_resumed

    def offers(self, peer: Peer) -> bool:
        return not peer.is_plain

    def body(self, peer: Peer, offset: int, length: int) -> Body:
        return peer.share.blob(self._blob, self.size, offset, length)

    async def prepare(self, peer: Peer | None, first: int, stop: int) -> bool:
        """Walks from the root down to the nodes that hold the chunks' digests, fetching what is missing."""
        first_leaf = first * LEAVES_PER_CHUNK
        last_leaf = min(stop * LEAVES_PER_CHUNK, self._geometry.leaves) - 1
        async with self._lock:
            for level in reversed(self._geometry.levels):
                width = merkle.DIGESTS_PER_NODE**level.number
                nodes = range(first_leaf // width, last_leaf // width + 1)
                missing = [node for node in nodes if node not in self._verified[level.number]]
                if not missing:
                    continue
                # Only a load that was resumed can have nodes on the disk that are not verified yet.
                if self._resumed and await self._disk.run(self._adopt, level, missing):
                    continue
                if peer is None:
                    return False
                await self._fetch(peer, level, missing)
        return True

    async def _fetch(self, peer: Peer, level: merkle.Level, missing: list[int]) -> None:
        start = level.node_span(missing[0])[0]
        last, length = level.node_span(missing[-1])
        stop = last + length
        upper = self._geometry.levels[0].offset
        if level.number > 1 and upper <= UPPER_LEVELS_AT_ONCE:
            start, stop = 0, upper
        if self._geometry.tree_size <= UPPER_LEVELS_AT_ONCE:
            start, stop = 0, self._geometry.tree_size
        for offset in range(start, stop, TREE_REQUEST):
            content = await peer.share.tree(self._blob, offset, min(TREE_REQUEST, stop - offset))
            await self._disk.run(self._accept, offset, content)
        if not self._verified[level.number].issuperset(missing):
            raise peer.wrong("tree", "a hash tree that is not this blob's")

    def _accept(self, offset: int, content: bytes) -> None:
        """Keeps the nodes that lie whole in fetched bytes and are right; the others leave no trace.

        They are verified before they are written: another span may be reading the tree right now.
        """
        stop = offset + len(content)
        for level in reversed(self._geometry.levels):
            node_size = merkle.DIGESTS_PER_NODE * merkle.DIGEST_SIZE
            first = max(-(-(offset - level.offset) // node_size), 0)
            for node in range(first, level.nodes):
                start, length = level.node_span(node)
                if start + length > stop:
                    break
                node_content = content[start - offset : start - offset + length]
                if self._vouched(level.number, node, node_content):
                    self._partial.write_tree(start, node_content)
                    self._verified[level.number].add(node)

    def _adopt(self, level: merkle.Level, nodes: list[int]) -> bool:
        """Whether nodes that an earlier run left on the disk are right."""
        for node in nodes:
            if not self._vouched(level.number, node, self._partial.read_tree(*level.node_span(node))):
                return False
            self._verified[level.number].add(node)
        return True

    def _vouched(self, level: int, node: int, content: bytes) -> bool:
        """Whether the level above, itself verified, holds this node's digest."""
        above = level + 1
        if above in self._verified and node // merkle.DIGESTS_PER_NODE not in self._verified[above]:
            return False
        return merkle.hash_node(level, node, content) == self._digest(level, node)

    def _digest(self, level: int, node: int) -> bytes:
        """The digest that the level above holds for a node (or leaf, level 0)."""
        if level == len(self._geometry.levels):
            return bytes.fromhex(self._blob)
        above = self._geometry.levels[level]
        return self._partial.read_tree(above.offset + node * merkle.DIGEST_SIZE, merkle.DIGEST_SIZE)

    def keep(self, first: int, content: bytes) -> bool:
        if not self.is_right(first, content):
            return False
        self._partial.write_chunks(first, content)
        return True

    def is_right(self, first: int, content: bytes) -> bool:
        """Whether whole chunks from `first` on are what the id says; their tree nodes are prepared."""
        first_leaf = first * LEAVES_PER_CHUNK
        if not self._geometry.levels:
            return merkle.build_tree(merkle.hash_leaves(content, 0), len(content))[0] == self._blob
        leaves = -(-len(content) // LEAF_SIZE)
        bottom = self._geometry.levels[0]
        digests = self._partial.read_tree(
            bottom.offset + first_leaf * merkle.DIGEST_SIZE, leaves * merkle.DIGEST_SIZE
        )
        return len(digests) == leaves * merkle.DIGEST_SIZE and (
            merkle.find_wrong_leaf(content, first_leaf, digests) is None
        )

    def tree(self) -> bytes:
        """The whole tree file, once every chunk is here. Blocks."""
        return self._partial.read_tree(0, self._geometry.tree_size)


def plain_key(peer: Peer, name: Name, file: PlainFile) -> str:
    """What one version of a plain file is called in the store while its blob id is not known."""
    version = "\n".join(
        (peer.share.options.url, name, str(file.size), file.validator or "", str(file.last_modified_ns))
    )
    return "plain-" + hashlib.sha256(version.encode("utf-8")).hexdigest()


class PlainSource:
    """A file of a plain share, in the one version that was pinned."""

    def __init__(self, name: Name, file: PlainFile, peer: Peer, partial: Partial) -> None:
        self.size = file.size
        self.mtime_ns = file.last_modified_ns
        self._name = name
        self._file = file
        self._peer = peer
        self._partial = partial

    def offers(self, peer: Peer) -> bool:
        return peer is self._peer

    async def prepare(self, peer: Peer | None, first: int, stop: int) -> bool:
        """Nothing vouches for a plain file."""
        return True

    def is_right(self, first: int, content: bytes) -> bool:
        return False  # after an unclean end nothing can tell: it is loaded again

    def body(self, peer: Peer, offset: int, length: int) -> Body:
        return peer.share.plain(self._name, self._file, offset, length)

    def keep(self, first: int, content: bytes) -> bool:
        self._partial.write_chunks(first, content)
        return True
