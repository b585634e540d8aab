"""Blob ids and hash trees: Fuchsia's Merkle tree, SHA-256 over nodes of 8 KiB (docs/formats.md).

::

    node hash = SHA-256( u64le(offset of the node within its level | level)
                         u32le(length)
                         bytes, then zeros up to 8,192 )

Level 0 is the blob. A leaf's length is its real length. Each level above is the concatenated node
hashes of the level below, and its length field is always 8,192. The root, which is the blob id, is
the hash of the one node at the top; a blob of one leaf has nothing but that leaf. Only the empty blob
is not padded: its hash covers the twelve bytes in front and nothing else.

The **tree file** holds every level above the blob's bytes, topmost first, without padding and without
the root. One leaf: no tree file.

What a tree proves about the size: a node of n digests and one of n digests followed by zeros have the
same hash, so a tree with a last digest of zeros is refused (`verify_tree`; nothing hashes to zero). With
that a tree proves the number of leaves; the exact size is proved by the last leaf.

Everything here is pure, holds no lock and does no I/O.
"""

import struct
from dataclasses import dataclass
from hashlib import sha256

from blobfs.model import EMPTY_BLOB, LEAF_SIZE, BlobId

Buffer = bytes | bytearray | memoryview

NODE_SIZE = LEAF_SIZE
"""Bytes of a node, on every level."""

DIGEST_SIZE = 32
DIGESTS_PER_NODE = NODE_SIZE // DIGEST_SIZE

_PREFIX = struct.Struct("<QI")
_ZEROS = bytes(NODE_SIZE)
_NO_DIGEST = bytes(DIGEST_SIZE)


@dataclass(frozen=True, slots=True)
class Level:
    """One level of a tree above the leaves, and where it stands in the tree file."""

    number: int
    """1 for the level that holds the digests of the leaves."""
    digests: int
    offset: int
    """In the tree file, in bytes; the topmost level stands at 0."""

    @property
    def length(self) -> int:
        """Bytes in the tree file."""
        return self.digests * DIGEST_SIZE

    @property
    def nodes(self) -> int:
        return _nodes(self.digests)

    def node_span(self, node: int) -> tuple[int, int]:
        """Offset in the tree file and length of a node, which is short if it is the last one."""
        if not 0 <= node < self.nodes:
            raise IndexError(f"node {node} of level {self.number}, which has {self.nodes}")
        start = node * NODE_SIZE
        return self.offset + start, min(NODE_SIZE, self.length - start)


@dataclass(frozen=True, slots=True, init=False)
class Geometry:
    """The shape of the tree of a blob; it depends on the blob's size alone."""

    size: int
    leaves: int
    """At least 1: the empty blob has one leaf of no bytes."""
    levels: tuple[Level, ...]
    """Level 1 first, the topmost last. Empty for a blob of one leaf."""
    tree_size: int
    """Bytes of the tree file."""

    def __init__(self, size: int) -> None:
        if size < 0:
            raise ValueError(f"a blob of {size} bytes")
        leaves = max(1, -(-size // LEAF_SIZE))
        counts = _digest_counts(leaves)
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "leaves", leaves)
        object.__setattr__(self, "tree_size", sum(counts) * DIGEST_SIZE)
        object.__setattr__(
            self,
            "levels",
            tuple(
                Level(number, count, sum(counts[number:]) * DIGEST_SIZE)
                for number, count in enumerate(counts, start=1)
            ),
        )


@dataclass(frozen=True, slots=True)
class Tree:
    """What hashing a blob gives."""

    root: BlobId
    size: int
    tree: bytes
    """The tree file; empty for a blob of one leaf."""


class StreamHasher:
    """Hashes a blob that arrives in order, in pieces of any size.

    Mutable: the digests of the whole leaves so far, and the bytes of the leaf that has begun, always
    fewer than a leaf. Any thread may call it, one at a time.
    """

    def __init__(self) -> None:
        self._digests = bytearray()
        self._begun = bytearray()

    @property
    def size(self) -> int:
        """Bytes appended so far."""
        return self._whole_leaves() * LEAF_SIZE + len(self._begun)

    def append(self, chunk: Buffer) -> None:
        """Takes the next bytes; keeps no reference to `chunk`."""
        rest = memoryview(chunk)
        if self._begun:
            missing = LEAF_SIZE - len(self._begun)
            self._begun += rest[:missing]
            rest = rest[missing:]
            if len(self._begun) < LEAF_SIZE:
                return
            self._digests += hash_leaves(self._begun, self._whole_leaves())
            self._begun.clear()
        whole = len(rest) - len(rest) % LEAF_SIZE
        self._digests += hash_leaves(rest[:whole], self._whole_leaves())
        self._begun += rest[whole:]

    def finish(self) -> Tree:
        """The tree of what was appended so far; changes nothing, so more may follow."""
        last = hash_leaves(self._begun, self._whole_leaves())
        root, tree = build_tree(self._digests + last, self.size)
        return Tree(root, self.size, tree)

    def _whole_leaves(self) -> int:
        return len(self._digests) // DIGEST_SIZE


def hash_leaves(content: Buffer, first_leaf: int) -> bytes:
    """The digests of consecutive leaves, `first_leaf` the first; only the last may be short.

    No bytes are no leaves: the one leaf of the empty blob is `build_tree`'s business.
    """
    view = memoryview(content)
    pack = _PREFIX.pack
    base = first_leaf * LEAF_SIZE
    digests = []
    whole = len(view) - len(view) % LEAF_SIZE
    for start in range(0, whole, LEAF_SIZE):
        leaf = sha256(pack(base + start, LEAF_SIZE))
        leaf.update(view[start : start + LEAF_SIZE])
        digests.append(leaf.digest())
    if whole < len(view):
        digests.append(_hash_padded(base + whole, len(view) - whole, view[whole:]))
    return b"".join(digests)


def hash_node(level: int, node: int, content: Buffer) -> bytes:
    """The digest of a node above the leaves; `content` is what `Level.node_span` points at."""
    if level < 1 or not 0 < len(content) <= NODE_SIZE:
        raise ValueError(f"no node of a tree: level {level}, {len(content)} bytes")
    return _hash_padded(node * NODE_SIZE | level, NODE_SIZE, content)


def find_wrong_leaf(content: Buffer, first_leaf: int, digests: Buffer) -> int | None:
    """The number within the blob of the first leaf in `content` that does not match its digest."""
    found = hash_leaves(content, first_leaf)
    if len(found) != len(digests):
        raise ValueError(f"{len(digests)} bytes of digests for {len(found) // DIGEST_SIZE} leaves")
    if found == digests:
        return None
    starts = range(0, len(found), DIGEST_SIZE)
    wrong = next(at for at in starts if found[at : at + DIGEST_SIZE] != digests[at : at + DIGEST_SIZE])
    return first_leaf + wrong // DIGEST_SIZE


def build_tree(leaf_digests: Buffer, size: int) -> tuple[BlobId, bytes]:
    """The root and the tree file. `leaf_digests` may be empty for the empty blob only."""
    if size == 0 and not leaf_digests:
        return EMPTY_BLOB, b""
    geometry = Geometry(size)
    if len(leaf_digests) != geometry.leaves * DIGEST_SIZE:
        raise ValueError(f"{len(leaf_digests)} bytes of digests for a blob of {geometry.leaves} leaves")
    levels = [bytes(leaf_digests)]
    for level in geometry.levels:
        levels.append(_hash_level(level.number, levels[-1]))
    root = levels.pop()  # the level above the topmost is the root alone
    return BlobId(root.hex()), b"".join(reversed(levels))


def verify_tree(root: BlobId, size: int, tree: Buffer) -> bool:
    """Whether `tree` is the whole tree file of the blob `root` of `size` bytes.

    A blob of one leaf has nothing to prove yet, except the empty one. For the size see the module.
    """
    geometry = Geometry(size)
    if len(tree) != geometry.tree_size:
        return False
    if not geometry.levels:
        return size > 0 or root == EMPTY_BLOB
    expected = bytes.fromhex(root)
    for level in reversed(geometry.levels):
        content = bytes(tree[level.offset : level.offset + level.length])
        if content.endswith(_NO_DIGEST) or _hash_level(level.number, content) != expected:
            return False
        expected = content
    return True


def verify_range(root: BlobId, size: int, tree: Buffer, offset: int, content: Buffer) -> bool:
    """Whether `content` is what stands at `offset` in the blob: one or more whole leaves.

    The reference for every faster path: it trusts nothing, and what is not proved is False.
    """
    end = offset + len(content)
    if offset % LEAF_SIZE or not 0 <= offset <= end <= size:
        return False  # an end within a leaf needs no check: a leaf's length is part of its hash
    if not verify_tree(root, size, tree):
        return False
    if not content:
        return size == 0
    geometry = Geometry(size)
    digests = tree[-geometry.levels[0].length :] if geometry.levels else bytes.fromhex(root)
    first = offset // LEAF_SIZE
    last = -(-end // LEAF_SIZE)
    return find_wrong_leaf(content, first, digests[first * DIGEST_SIZE : last * DIGEST_SIZE]) is None


def _hash_padded(position: int, length: int, content: Buffer) -> bytes:
    node = sha256(_PREFIX.pack(position, length))
    node.update(content)
    node.update(_ZEROS[len(content) :])
    return node.digest()


def _hash_level(number: int, content: bytes) -> bytes:
    view = memoryview(content)
    return b"".join(
        hash_node(number, node, view[node * NODE_SIZE : (node + 1) * NODE_SIZE])
        for node in range(_nodes(len(content) // DIGEST_SIZE))
    )


def _nodes(digests: int) -> int:
    return -(-digests // DIGESTS_PER_NODE)


def _digest_counts(leaves: int) -> list[int]:
    """How many digests each level holds, level 1 first."""
    counts = []
    while leaves > 1:
        counts.append(leaves)
        leaves = _nodes(leaves)
    return counts
