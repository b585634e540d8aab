"""Whether a blob's bytes and its tree are what its id says, in bounded memory however large it is.

The tree is verified first, node by node from the root down; then the bytes against its lowest level. So a
sound tree tells which chunks are right. Only where the tree is wrong the whole blob is hashed for its root,
which costs 32 bytes of memory for each leaf.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from blobfs import errors
from blobfs.merkle import DIGEST_SIZE, Geometry, build_tree, hash_leaves, hash_node
from blobfs.model import CHUNK_SIZE, LEAF_SIZE, BlobId
from blobfs.store.hashing import HashWorkers

STRETCH = 4 << 20
"""Bytes that are hashed at a time: enough to keep a hash worker busy, little to hold."""

_NO_DIGEST = bytes(DIGEST_SIZE)

WINDOW = 64
"""Stretches that are given to a pool at a time."""

T = TypeVar("T")


class Each(Protocol):
    """How stretches are gone through: as `map` does it, or the `map` of a pool of threads."""

    def __call__(self, call: Callable[[int], T], starts: Iterable[int], /) -> Iterator[T]:
        """The results in order."""


@dataclass(frozen=True, slots=True)
class Content:
    """An open blob: what is verified."""

    blob: BlobId
    fd: int
    size: int
    tree_fd: int | None
    hashing: HashWorkers

    @property
    def geometry(self) -> Geometry:
        return Geometry(self.size)


@dataclass(frozen=True, slots=True)
class Verdict:
    """On one blob."""

    good: int
    """Bytes of the chunks that are right; 0 where nothing tells which ones are."""
    is_right: bool
    is_tree_right: bool
    """True for a blob of one leaf, which has none."""
    tree: bytes = b""
    """What the tree file should be, where it is not and the blob is right."""
    reason: str = ""
    """What is wrong with the bytes."""


def _nobody(amount: int) -> None:
    """Is told how far it is."""


def check_content(content: Content, each: Each = map, done: Callable[[int], None] = _nobody) -> Verdict:
    """`done` is told of every byte that was looked at. Raises OSError, `StoreError`."""
    if content.size <= LEAF_SIZE:
        return _check_leaf(content, done)
    if is_tree_right(content):
        return _check_by_tree(content, each, done)
    return _check_by_root(content, each, done)


def _check_leaf(content: Content, done: Callable[[int], None]) -> Verdict:
    leaf = os.pread(content.fd, LEAF_SIZE, 0)
    done(content.size)
    is_right = build_tree(hash_leaves(leaf, 0), len(leaf))[0] == content.blob
    return Verdict(content.size * is_right, is_right, True, reason="it is not what its id says")


def _check_by_tree(content: Content, each: Each, done: Callable[[int], None]) -> Verdict:
    good = wrong = 0
    for start, right in _stretches(content.size, each, partial(right_chunks, content)):
        done(min(STRETCH, content.size - start))
        wrong += right.count(False)
        good += sum(
            min(CHUNK_SIZE, content.size - start - number * CHUNK_SIZE)
            for number, is_right in enumerate(right)
            if is_right
        )
    chunks = -(-content.size // CHUNK_SIZE)
    return Verdict(good, not wrong, True, reason=f"{wrong} of its {chunks} chunks are wrong")


def _check_by_root(content: Content, each: Each, done: Callable[[int], None]) -> Verdict:
    digests = bytearray()
    for start, found in _stretches(content.size, each, partial(_digests, content)):
        digests += found
        done(min(STRETCH, content.size - start))
    root, tree = build_tree(digests, content.size)
    if root == content.blob:
        return Verdict(content.size, True, False, tree)
    return Verdict(0, False, False, reason="neither its bytes nor its tree are what its id says")


def _stretches(size: int, each: Each, call: Callable[[int], T]) -> Iterator[tuple[int, T]]:
    for first in range(0, size, STRETCH * WINDOW):
        starts = range(first, min(first + STRETCH * WINDOW, size), STRETCH)
        yield from zip(starts, each(call, starts), strict=True)


def _digests(content: Content, start: int) -> bytes:
    """Those of a stretch's leaves; zeros, which are none, where it cannot be read."""
    length = min(STRETCH, content.size - start)
    wanted = -(-length // LEAF_SIZE) * DIGEST_SIZE
    try:
        return content.hashing.hash_file(content.fd, start, length).ljust(wanted, b"\0")
    except (OSError, errors.StoreError):  # a bad sector
        leaves = range(start, start + length, LEAF_SIZE)
        return b"".join(_leaf_digest(content.fd, at, min(LEAF_SIZE, start + length - at)) for at in leaves)


def _leaf_digest(fd: int, offset: int, length: int) -> bytes:
    try:
        return hash_leaves(os.pread(fd, length, offset), offset // LEAF_SIZE).ljust(DIGEST_SIZE, b"\0")
    except OSError:
        return _NO_DIGEST


def right_chunks(content: Content, start: int) -> list[bool]:
    """Of the stretch from `start` on: whether each chunk is what a sound tree says."""
    assert content.tree_fd is not None
    found = _digests(content, start)
    bottom = content.geometry.levels[0]
    wanted = os.pread(content.tree_fd, len(found), bottom.offset + start // LEAF_SIZE * DIGEST_SIZE)
    step = CHUNK_SIZE // LEAF_SIZE * DIGEST_SIZE
    return [found[at : at + step] == wanted[at : at + step] for at in range(0, len(found), step)]


def is_tree_right(content: Content) -> bool:
    """Whether the whole tree is there, and the blob's. Raises OSError."""
    geometry, tree_fd = content.geometry, content.tree_fd
    if tree_fd is None or os.fstat(tree_fd).st_size != geometry.tree_size:
        return False
    return all(
        is_node_right(content.blob, geometry, tree_fd, level.number, node)
        for level in reversed(geometry.levels)
        for node in range(level.nodes)
    )


def is_node_right(blob: BlobId, geometry: Geometry, tree_fd: int, level: int, node: int) -> bool:
    """Whether a node of a tree is what the level above, or the id, says. Raises OSError."""
    offset, length = geometry.levels[level - 1].node_span(node)
    content = os.pread(tree_fd, length, offset)
    if len(content) != length or content.endswith(_NO_DIGEST):
        return False
    if level == len(geometry.levels):
        wanted = bytes.fromhex(blob)
    else:
        wanted = os.pread(tree_fd, DIGEST_SIZE, geometry.levels[level].offset + node * DIGEST_SIZE)
    return hash_node(level, node, content) == wanted


def open_untouched(path: Path) -> int:
    """A descriptor to read from: being verified is no use of a blob. Raises OSError."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags | os.O_NOATIME)
    except PermissionError:  # not the owner's call
        return os.open(path, flags)
