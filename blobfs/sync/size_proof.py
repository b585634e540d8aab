"""Whether a blob has the size that a share gives it: its last leaf and the nodes above it prove it.

A leaf's length is part of its hash, and a node's place in the tree is, so the last leaf of a tree of a given
shape hashes up to the blob id only if the blob ends there. It costs a few KiB, all asked for at once.
"""

import trio

from blobfs import merkle
from blobfs.model import LEAF_SIZE, BlobId
from blobfs.shares.body import read_exactly
from blobfs.sync.background import lone_failure
from blobfs.sync.peer import ShareLike


async def proves_size(share: ShareLike, blob: BlobId, size: int) -> bool:
    """Raises `ShareFailure` when the share does not deliver what is needed to tell."""
    geometry = merkle.Geometry(size)
    nodes: dict[int, bytes] = {}
    leaf = bytearray()

    async def fetch_node(level: merkle.Level) -> None:
        nodes[level.number] = await share.tree(blob, *level.node_span(level.nodes - 1))

    async def fetch_leaf() -> None:
        start = (geometry.leaves - 1) * LEAF_SIZE
        async with share.blob(blob, size, start, size - start) as body:
            leaf.extend(await read_exactly(body, size - start))

    with lone_failure():
        async with trio.open_nursery() as nursery:
            for level in geometry.levels:
                nursery.start_soon(fetch_node, level)
            nursery.start_soon(fetch_leaf)
    digest = merkle.hash_leaves(leaf, geometry.leaves - 1)
    for level in geometry.levels:
        if nodes[level.number][-merkle.DIGEST_SIZE :] != digest:
            return False
        digest = merkle.hash_node(level.number, level.nodes - 1, nodes[level.number])
    return digest.hex() == blob
