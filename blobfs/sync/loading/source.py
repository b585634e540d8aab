"""Where a load's bytes come from and what makes them trustworthy.

A `MerkleSource` takes chunks of a blob from any share and lets none pass that its id does not
vouch for. A `PlainSource` takes them from the one plain share that has the file, pinned to one
version of it; nothing vouches for them.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Protocol

import trio

from blobfs import merkle
from blobfs.model import LEAF_SIZE, BlobId, Name
from blobfs.shares.plain import PlainFile
from blobfs.store.hashing import HashWorkers
from blobfs.store.partial import Partial
from blobfs.store.tree_nodes import LEAVES_PER_CHUNK, KnownNodes
from blobfs.sync.background import lone_failure
from blobfs.sync.disk import DiskThreads
from blobfs.sync.loading.landers import Place
from blobfs.sync.peer import Body, Peer

UPPER_LEVELS_AT_ONCE = 64 * 1024
"""Up to so many bytes of upper tree levels are fetched in one request: round trips cost more."""
NODES_AHEAD = 32
"""Nodes of the lowest level that are fetched together for who reads on: 256 KiB, for 64 MiB of the blob."""
TREE_REQUEST = 1 << 20
"""The most tree bytes asked for in one request."""
TREE_PATIENCE = 0.4
"""Seconds for which tree bytes that another request fetches are waited for, before they are fetched again."""

TreeRange = tuple[int, int]
"""Bytes of a tree file, start and stop."""


@dataclass(frozen=True, slots=True)
class Coming:
    """A part of the tree that some request is fetching right now."""

    since: float
    ended: trio.Event = field(default_factory=trio.Event)


class Source(Protocol):
    """What a load needs to know of the place its bytes come from."""

    size: int

    def offers(self, peer: Peer) -> bool:
        """Whether it makes sense to ask this share."""

    def is_prepared(self, first: int, stop: int) -> bool:
        """Whether the chunks first to stop can be verified now."""

    async def resume(self, first: int, stop: int) -> bool:
        """Whether they can be verified with what an earlier run left on the disk."""

    async def prepare(self, peer: Peer, first: int, stop: int, *, ahead: bool) -> None:
        """Gets from a share what they will be verified with; with `ahead` also for what follows.

        Raises `ShareFailure`.
        """

    def body(self, peer: Peer, offset: int, length: int) -> Body:
        """Asks for bytes."""

    def is_right(self, first: int, content: merkle.Buffer) -> bool:
        """Whether whole chunks are what they should be; what they are verified with is prepared. Blocks."""

    def is_as_kept(self, first: int, content: merkle.Buffer) -> bool:
        """The same of whole chunks that an earlier run kept. Blocks."""

    def keep(self, first: int, content: merkle.Buffer) -> bool:
        """Verifies whole chunks and writes them; False when they are wrong. Blocks."""

    def place(self, first: int) -> Place | None:
        """What somebody else needs to do that, from this chunk on; None: nobody else can."""


class MerkleSource:
    """A blob by its id. `_nodes` are those of its tree that are known to be right."""

    def __init__(
        self, blob: BlobId, size: int, partial: Partial, disk: DiskThreads, hashing: HashWorkers
    ) -> None:
        self.size = size
        self._blob = blob
        self._partial = partial
        self._disk = disk
        self._nodes = KnownNodes(blob, size, hashing)
        self._geometry = self._nodes.geometry
        self._is_resumed = partial.is_resumed
        self._coming: dict[TreeRange, Coming] = {}

    def offers(self, peer: Peer) -> bool:
        return not peer.is_plain

    def body(self, peer: Peer, offset: int, length: int) -> Body:
        return peer.share.blob(self._blob, self.size, offset, length)

    def is_prepared(self, first: int, stop: int) -> bool:
        return self._nodes.suffice(first, stop)

    async def resume(self, first: int, stop: int) -> bool:
        if self._is_resumed:
            await self._disk.run(self._nodes.adopt, self._partial.read_tree, first, stop)
        return self.is_prepared(first, stop)

    async def prepare(self, peer: Peer, first: int, stop: int, *, ahead: bool) -> None:
        """Fetches the nodes on the way from the root to the chunks that are missing, all levels at once."""
        if await self.resume(first, stop):
            return
        while not self.is_prepared(first, stop):
            ranges = self._missing_ranges(first, stop, ahead)
            coming = next((self._coming[each] for each in ranges if each in self._coming), None)
            if coming is not None and trio.current_time() < coming.since + TREE_PATIENCE:
                with trio.move_on_at(coming.since + TREE_PATIENCE):
                    await coming.ended.wait()
                continue
            await self._fetch(peer, ranges)
            if not self.is_prepared(first, stop):
                raise peer.wrong("tree", "a hash tree that is not this blob's")

    def _missing_ranges(self, first: int, stop: int, ahead: bool) -> list[TreeRange]:
        """The parts of the tree file to ask for, topmost first."""
        if self._geometry.tree_size <= UPPER_LEVELS_AT_ONCE:
            return [(0, self._geometry.tree_size)]
        upper = self._geometry.levels[0].offset
        found: list[TreeRange] = []
        for level in reversed(self._geometry.levels):
            missing = [
                node
                for node in self._nodes.on_the_way(level, first, stop)
                if not self._nodes.is_known(level.number, node)
            ]
            if not missing:
                continue
            if level.number > 1 and upper <= UPPER_LEVELS_AT_ONCE:
                found = [(0, upper)]
                continue
            low, high = missing[0], missing[-1] + 1
            if ahead and level.number == 1:
                low -= low % NODES_AHEAD
                high = min(-(-high // NODES_AHEAD) * NODES_AHEAD, level.nodes)
            start = level.node_span(low)[0]
            last, length = level.node_span(high - 1)
            found += [
                (offset, min(offset + TREE_REQUEST, last + length))
                for offset in range(start, last + length, TREE_REQUEST)
            ]
        return found

    async def _fetch(self, peer: Peer, ranges: list[TreeRange]) -> None:
        """Keeps what a share has at these places, as far as it is right. Raises `ShareFailure`."""
        found: dict[int, bytes] = {}

        async def ask(start: int, stop: int) -> None:
            found[start] = await peer.share.tree(self._blob, start, stop - start)

        coming = Coming(trio.current_time())
        mine = [each for each in ranges if each not in self._coming]
        self._coming.update(dict.fromkeys(mine, coming))
        try:
            with lone_failure():
                async with trio.open_nursery() as nursery:
                    for start, stop in ranges:
                        nursery.start_soon(ask, start, stop)
            await self._disk.run(self._accept_all, [(start, found[start]) for start, _ in ranges])
        finally:
            for each in mine:
                del self._coming[each]
            coming.ended.set()

    def _accept_all(self, contents: list[tuple[int, bytes]]) -> None:
        """Topmost first: what is below is right by what is above."""
        for offset, content in contents:
            self._accept(offset, content)

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
                if self._nodes.is_vouched_for(self._partial.read_tree, level.number, node, node_content):
                    self._partial.write_tree(start, node_content)
                    self._nodes.note(level.number, node)

    def keep(self, first: int, content: merkle.Buffer) -> bool:
        if not self.is_right(first, content):
            return False
        self._partial.write_chunks(first, content)
        return True

    def place(self, first: int) -> Place | None:
        if not self._geometry.levels:
            return None
        leaf = first * LEAVES_PER_CHUNK
        digests_at = self._geometry.levels[0].offset + leaf * merkle.DIGEST_SIZE
        return Place(self._partial.fd, leaf * LEAF_SIZE, self._partial.tree_fd, digests_at)

    def is_right(self, first: int, content: merkle.Buffer) -> bool:
        return self._nodes.are_right(self._partial.read_tree, first, content)

    def is_as_kept(self, first: int, content: merkle.Buffer) -> bool:
        return self.is_right(first, content)

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
    """A file of a plain share, in the one version that was pinned.

    So that a later run can tell what it has of it, the digests of its leaves are kept in place of a tree.
    """

    def __init__(
        self, name: Name, file: PlainFile, peer: Peer, partial: Partial, hashing: HashWorkers
    ) -> None:
        self.size = file.size
        self._hashing = hashing
        self.mtime_ns = file.last_modified_ns
        self._name = name
        self._file = file
        self._peer = peer
        self._partial = partial

    def offers(self, peer: Peer) -> bool:
        return peer is self._peer

    def is_prepared(self, first: int, stop: int) -> bool:
        """Nothing vouches for a plain file."""
        return True

    async def resume(self, first: int, stop: int) -> bool:
        return True

    async def prepare(self, peer: Peer, first: int, stop: int, *, ahead: bool) -> None:
        """There is nothing to get."""

    def is_right(self, first: int, content: merkle.Buffer) -> bool:
        return True

    def is_as_kept(self, first: int, content: merkle.Buffer) -> bool:
        digests = self._hashing.hash_leaves(content, first * LEAVES_PER_CHUNK)
        return self._partial.read_tree(_digests_at(first), len(digests)) == digests

    def body(self, peer: Peer, offset: int, length: int) -> Body:
        return peer.share.plain(self._name, self._file, offset, length)

    def keep(self, first: int, content: merkle.Buffer) -> bool:
        self._partial.write_chunks(first, content)
        digests = self._hashing.hash_leaves(content, first * LEAVES_PER_CHUNK)
        self._partial.write_tree(_digests_at(first), digests)
        return True

    def place(self, first: int) -> Place | None:
        return None


def _digests_at(chunk: int) -> int:
    return chunk * LEAVES_PER_CHUNK * merkle.DIGEST_SIZE
