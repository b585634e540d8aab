"""Which nodes of a blob's tree are known to be right, and whether chunks are what those say.

Nodes are verified from the root down, and only those on the way to what is read: never the whole tree of a
large blob. What is remembered is which ones were right, not their bytes: a node that goes bad later makes
right chunks look wrong, never wrong ones right.
"""

from collections.abc import Callable

from blobfs import merkle
from blobfs.model import CHUNK_SIZE, LEAF_SIZE, BlobId
from blobfs.store.hashing import HashWorkers

LEAVES_PER_CHUNK = CHUNK_SIZE // LEAF_SIZE

ReadTree = Callable[[int, int], bytes]
"""Bytes of the tree file, by offset and length; what it lacks is zeros, or missing. Blocks."""


class KnownNodes:
    """Of one blob. Mutable: `_right`, a byte for each node, which only ever becomes 1. For any thread."""

    def __init__(self, blob: BlobId, size: int, hashing: HashWorkers) -> None:
        self.blob = blob
        self.geometry = merkle.Geometry(size)
        self._hashing = hashing
        self._right = [bytearray(level.nodes) for level in self.geometry.levels]

    def is_known(self, level: int, node: int) -> bool:
        return bool(self._right[level - 1][node])

    def note(self, level: int, node: int) -> None:
        """Its bytes, as they are in the tree file, are right."""
        self._right[level - 1][node] = 1

    def on_the_way(self, level: merkle.Level, first: int, stop: int) -> range:
        """The nodes of a level between the root and the chunks first to stop."""
        width = merkle.DIGESTS_PER_NODE**level.number
        last_leaf = min(stop * LEAVES_PER_CHUNK, self.geometry.leaves) - 1
        return range(first * LEAVES_PER_CHUNK // width, last_leaf // width + 1)

    def suffice(self, first: int, stop: int) -> bool:
        """Whether the chunks first to stop can be verified with what is known."""
        if not self._right:
            return True
        nodes = self.on_the_way(self.geometry.levels[0], first, stop)
        return self._right[0].find(0, nodes.start, nodes.stop) < 0

    def adopt(self, read: ReadTree, first: int, stop: int) -> bool:
        """Takes what the tree file has for these chunks, if it is right; whether that suffices. Blocks."""
        for level in reversed(self.geometry.levels):
            for node in self.on_the_way(level, first, stop):
                if not self.is_known(level.number, node):
                    content = read(*level.node_span(node))
                    if self.is_vouched_for(read, level.number, node, content):
                        self.note(level.number, node)
        return self.suffice(first, stop)

    def is_vouched_for(self, read: ReadTree, level: int, node: int, content: bytes) -> bool:
        """Whether the level above, itself verified, holds the digest of a node with these bytes. Blocks."""
        above = level + 1
        if above <= len(self._right) and not self.is_known(above, node // merkle.DIGESTS_PER_NODE):
            return False
        return bool(content) and merkle.hash_node(level, node, content) == self._digest(read, level, node)

    def _digest(self, read: ReadTree, level: int, node: int) -> bytes:
        """The digest that the level above holds for a node (or leaf, level 0)."""
        if level == len(self._right):
            return bytes.fromhex(self.blob)
        above = self.geometry.levels[level]
        return read(above.offset + node * merkle.DIGEST_SIZE, merkle.DIGEST_SIZE)

    def are_right(self, read: ReadTree, first: int, content: merkle.Buffer) -> bool:
        """Whether whole chunks from `first` on are what the id says; their nodes are known. Blocks."""
        if first == 0 and len(content) == self.geometry.size <= CHUNK_SIZE:
            return self.is_all_of_it(content)
        first_leaf = first * LEAVES_PER_CHUNK
        digests = self._leaf_digests(read, first_leaf, -(-len(content) // LEAF_SIZE))
        return self._hashing.hash_leaves(content, first_leaf) == digests

    def is_right_in(self, fd: int, read: ReadTree, first: int, stop: int) -> bool:
        """The same of chunks that a file holds, of a blob of more than one. Blocks. Raises `StoreError`."""
        first_leaf, end = first * LEAVES_PER_CHUNK, min(stop * LEAVES_PER_CHUNK, self.geometry.leaves)
        start, length = first * CHUNK_SIZE, min(stop * CHUNK_SIZE, self.geometry.size) - first * CHUNK_SIZE
        digests = self._leaf_digests(read, first_leaf, end - first_leaf)
        return self._hashing.hash_file(fd, start, length) == digests

    def _leaf_digests(self, read: ReadTree, first_leaf: int, leaves: int) -> bytes:
        start = self.geometry.levels[0].offset + first_leaf * merkle.DIGEST_SIZE
        return read(start, leaves * merkle.DIGEST_SIZE)

    def is_all_of_it(self, content: merkle.Buffer) -> bool:
        """Whether this is the whole blob. Needs no tree; for small ones."""
        return merkle.build_tree(merkle.hash_leaves(content, 0), len(content))[0] == self.blob
