"""Reading a whole blob: no byte leaves the store that was not verified since the daemon started.

That a chunk is what the blob id says holds for one version of one file, told by its inode, size and
modification time: nobody changes a blob, so whatever changes these is to be looked at anew. What the kernel
has not cached comes from the disk again, and is verified again; nothing around it is read ahead. A blob of
one chunk vouches for itself; a larger one needs the nodes of its tree that lead to what is read.
"""

import contextlib
import enum
import os
from dataclasses import dataclass
from typing import NamedTuple

from blobfs import errors
from blobfs.chunks import chunk_count
from blobfs.model import CHUNK_SIZE, BlobId
from blobfs.store.failures import store_errors
from blobfs.store.files import read_at
from blobfs.store.hashing import HashWorkers
from blobfs.store.opening import Store
from blobfs.store.sealed import hash_file, open_blob, place_tree
from blobfs.store.tree_nodes import KnownNodes


class Version(NamedTuple):
    """Of a file: what does not change as long as nobody touches its content."""

    inode: int
    size: int
    mtime_ns: int


class Fault(enum.Enum):
    """Why bytes cannot be given out."""

    BYTES = enum.auto()
    """They are wrong, or cannot be read."""
    TREE = enum.auto()
    """They may be right or wrong: the tree is missing or wrong."""


class Verified(NamedTuple):
    """Bytes that are right, in a version of the file; and the chunks that are right with them."""

    content: bytes
    version: Version
    first: int
    stop: int


class Doubt(NamedTuple):
    """Bytes that are not."""

    fault: Fault
    offset: int
    """About where."""
    content: bytes = b""
    """What is there."""


@dataclass(frozen=True, slots=True)
class OpenBlob:
    """A blob that is here. `tree_fd` is -1 where it needs no tree, or has none."""

    blob: BlobId
    fd: int
    tree_fd: int

    def version(self) -> Version:
        found = os.fstat(self.fd)
        return Version(found.st_ino, found.st_size, found.st_mtime_ns)

    def read_tree(self, offset: int, length: int) -> bytes:
        return read_at(self.tree_fd, offset, length) if self.tree_fd >= 0 else b""

    def close(self) -> None:
        os.close(self.fd)
        if self.tree_fd >= 0:
            os.close(self.tree_fd)


class KnownChunks:
    """What is known of one file. Mutable: `version` and the chunks that are right in it, on the event loop
    only; `whole`, the version that was hashed without a tree; `nodes`; `is_wrong`, once it is known that some
    are not, and it has left the share."""

    def __init__(self, blob: BlobId, version: Version, hashing: HashWorkers) -> None:
        self.version = version
        self.nodes = KnownNodes(blob, version.size, hashing)
        self.is_wrong = False
        self.whole: Version | None = None
        self._right = bytearray(chunk_count(version.size))

    @property
    def memory(self) -> int:
        """Bytes, about."""
        return len(self._right) + len(self._right) // 16

    def are_right(self, first: int, stop: int) -> bool:
        return not self.is_wrong and self._right.find(0, first, stop) < 0

    def note(self, version: Version, first: int, stop: int) -> None:
        """These chunks were right in that version of the file."""
        if version != self.version:
            self.version = version
            self._right = bytearray(len(self._right))
        self._right[first:stop] = b"\1" * (stop - first)

    def note_all(self, version: Version) -> None:
        """The whole was hashed, and is right whatever its tree says."""
        self.whole = version
        self.note(version, 0, len(self._right))

    def forget(self, first: int, stop: int) -> None:
        """These are to be looked at anew: the kernel has let go of some of them."""
        self._right[first:stop] = bytes(stop - first)


def read_only_what_is_asked_for(fd: int) -> None:
    """By this descriptor nothing is read ahead.

    What had been verified and has left the kernel's cache would come back unverified, and nobody would know.
    """
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)


@store_errors()
def open_verifiable(store: Store, blob: BlobId) -> OpenBlob | None:
    """None: the blob is not here. The caller closes it."""
    fd = open_blob(store, blob)
    if fd is None:
        return None
    tree_fd = -1
    try:
        if os.fstat(fd).st_size > CHUNK_SIZE:
            read_only_what_is_asked_for(fd)
            tree_fd = os.open(store.layout.tree(blob), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return OpenBlob(blob, fd, -1)
    except BaseException:
        os.close(fd)
        raise
    return OpenBlob(blob, fd, tree_fd)


def read_verified(opened: OpenBlob, known: KnownChunks, offset: int, length: int) -> Verified | Doubt:
    """Bytes within the blob. Blocks."""
    version = opened.version()
    first, stop = offset // CHUNK_SIZE, chunk_count(offset + length)
    start, end = first * CHUNK_SIZE, min(stop * CHUNK_SIZE, known.nodes.geometry.size)
    try:
        content = read_at(opened.fd, start, end - start)
    except errors.StoreBroken:  # a bad sector
        return Doubt(Fault.BYTES, start)
    if len(content) != end - start:
        return Doubt(Fault.BYTES, start + len(content))
    wanted = content[offset - start : offset - start + length]
    if not _has_nodes(opened, known.nodes, first, stop):
        return Doubt(Fault.TREE, start, wanted)
    if not known.nodes.are_right(opened.read_tree, first, content):
        return Doubt(Fault.BYTES, _first_wrong(opened, known.nodes, start, content))
    return Verified(wanted, version, first, stop)


def verify(opened: OpenBlob, known: KnownChunks, first: int, stop: int) -> Version | None:
    """In which version of the file these chunks, of a blob of more than one, are right. Blocks.

    The bytes are left to the kernel's cache: a hash worker reads them for itself, and they are not copied on
    their way to it. None: they are not right, or cannot be told to be; `read_verified` says why.
    """
    version = opened.version()
    if not _has_nodes(opened, known.nodes, first, stop):
        return None
    start, length = first * CHUNK_SIZE, (stop - first) * CHUNK_SIZE
    os.posix_fadvise(opened.fd, start, length, os.POSIX_FADV_WILLNEED)  # it is not read ahead otherwise
    try:
        is_right = known.nodes.is_right_in(opened.fd, opened.read_tree, first, stop)
    except errors.StoreBroken:
        return None
    return version if is_right else None


def _has_nodes(opened: OpenBlob, nodes: KnownNodes, first: int, stop: int) -> bool:
    if nodes.geometry.size <= CHUNK_SIZE:
        return True
    try:
        return nodes.adopt(opened.read_tree, first, stop)
    except errors.StoreBroken:
        return False


def _first_wrong(opened: OpenBlob, nodes: KnownNodes, start: int, content: bytes) -> int:
    """Where the first wrong chunk begins."""
    chunk, pieces = start // CHUNK_SIZE, range(0, len(content), CHUNK_SIZE)
    for number, at in enumerate(pieces):
        if not nodes.are_right(opened.read_tree, chunk + number, content[at : at + CHUNK_SIZE]):
            return start + at
    return start


@store_errors()
def doubt_size(opened: OpenBlob, size: int, hashing: HashWorkers) -> Fault | None:
    """For a blob that should have another size than its file has. None: the file is right. Blocks.

    Its last chunk and the nodes above it prove a size.
    """
    has = opened.version().size
    known = KnownChunks(opened.blob, opened.version(), hashing)
    last = max(has - 1, 0) // CHUNK_SIZE * CHUNK_SIZE
    if isinstance(read_verified(opened, known, last, has - last), Verified):
        return None
    if has <= CHUNK_SIZE and size <= CHUNK_SIZE:
        return Fault.BYTES
    claimed = KnownNodes(opened.blob, size, hashing)
    chunks = chunk_count(size)
    is_proven = size > CHUNK_SIZE and _has_nodes(opened, claimed, chunks - 1, chunks)
    return Fault.BYTES if is_proven else Fault.TREE


@store_errors()
def find_right(store: Store, opened: OpenBlob) -> Version | None:
    """Hashes all of a blob whose tree is missing or wrong. None: the blob is wrong. Blocks.

    If it is right and still in the store its tree is made anew, if the disk takes it.
    """
    version = opened.version()
    try:
        content = hash_file(store, opened.fd, version.size)
    except errors.StoreBroken:
        return None
    if content.blob != opened.blob or opened.version() != version:
        return None
    with store.links:
        try:
            is_here = os.stat(store.layout.blob(opened.blob)).st_ino == version.inode
        except FileNotFoundError:
            is_here = False
        if is_here:
            with contextlib.suppress(errors.StoreFull, errors.QuotaExceeded, errors.StoreReadOnly):
                place_tree(store, content)
    return version
