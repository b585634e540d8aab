"""Verifies `partial/`: maps, trees, the chunks that maps speak of, and the names that wait.

Nothing in `partial/` is served or read before it was verified, so most of what is wrong here costs no more
than loading it again. What is mended is what would keep right bytes from being used: a map that is broken is
made anew of the chunks that the tree vouches for, and a wrong node of a tree becomes one that never came.
"""

import contextlib
import os
from collections.abc import Generator, Iterator

from blobfs.chunks import chunk_count, map_length
from blobfs.merkle import DIGESTS_PER_NODE, Geometry, build_tree, hash_leaves
from blobfs.model import CHUNK_SIZE, LEAF_SIZE, BlobId, Invalid, parse_blob_id
from blobfs.store.checks import is_as_written
from blobfs.store.chunk_map import read_map, write_map
from blobfs.store.files import write_all
from blobfs.store.verify.content import STRETCH, Content, is_node_right, open_untouched, right_chunks
from blobfs.store.verify.findings import Done, Finding, Findings, Inspection, Kind

_CHUNKS_PER_NODE = DIGESTS_PER_NODE * LEAF_SIZE // CHUNK_SIZE
"""Of the lowest level."""


def check_partials(inspection: Inspection) -> Findings:
    """Every blob that is being loaded. That of a plain share has no id, and is loaded again anyway."""
    layout = inspection.store.layout
    for key in sorted({text.partition(".")[0] for text in os.listdir(layout.partial)}):
        yield from _check_waiting(inspection, key)
        with contextlib.suppress(Invalid, FileNotFoundError):
            blob = parse_blob_id(key)
            if not layout.blob(blob).exists():
                yield from _Partial(inspection, blob).check()


def _check_waiting(inspection: Inspection, key: str) -> Findings:
    path = inspection.store.layout.partial_names(key)
    with contextlib.suppress(FileNotFoundError):
        if not is_as_written(path, path.read_bytes()):
            what = "not what was written; a name that waited is loaded again when it is read"
            yield Finding(Kind.WAITING, inspection.shown(path), what, inspection.quarantine(path))


class _Partial:
    """One of them. Mutable: `_here`, a byte for each chunk: what its map says, and then what it should."""

    def __init__(self, inspection: Inspection, blob: BlobId) -> None:
        self._inspection = inspection
        self._layout = inspection.store.layout
        self._blob = blob
        self._path = self._layout.partial_content(blob)
        self._map = self._layout.partial_map(blob)
        self._size = self._path.stat().st_size
        self._chunks = chunk_count(self._size)
        self._here = bytearray(self._chunks)
        self._geometry = Geometry(self._size)

    def check(self) -> Findings:
        """Raises FileNotFoundError where there is no map: the load was not to be resumed."""
        self._inspection.progress.count("partial blobs")
        trouble = self._read_map()
        with self._opened() as content:
            nodes = yield from self._check_tree(content)
            if trouble:
                yield self._make_map(content, nodes, trouble)
            else:
                yield from self._check_chunks(content, nodes)

    def _read_map(self) -> str:
        """What is wrong with it."""
        if not self._map.exists():
            raise FileNotFoundError(self._map)
        found = read_map(self._layout, self._blob)
        if found is None or found.size != self._size:
            return "it is no map of this blob"
        for chunk in found.chunks():
            self._here[chunk] = 1
        return ""

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Content]:
        with contextlib.ExitStack() as closing:
            fd = open_untouched(self._path)
            closing.callback(os.close, fd)
            tree_fd = None
            with contextlib.suppress(FileNotFoundError):
                flags = os.O_RDWR if self._inspection.mends else os.O_RDONLY
                tree_fd = os.open(self._layout.partial_tree(self._blob), flags | os.O_CLOEXEC)
                closing.callback(os.close, tree_fd)
            yield Content(self._blob, fd, self._size, tree_fd, self._inspection.store.hashing)

    def _check_tree(self, content: Content) -> Generator[Finding, None, set[int]]:
        """The nodes of the lowest level that are right. Those that never came are zeros."""
        above = {0}
        wrong = 0
        for level in reversed(self._geometry.levels):
            right = set()
            for node in range(level.nodes):
                if content.tree_fd is None or node // DIGESTS_PER_NODE not in above:
                    continue  # nothing tells whether it is right
                if is_node_right(self._blob, self._geometry, content.tree_fd, level.number, node):
                    right.add(node)
                    continue
                offset, length = level.node_span(node)
                if any(os.pread(content.tree_fd, length, offset)):
                    wrong += 1
                    if self._inspection.mends:
                        write_all(content.tree_fd, bytes(length), offset)
            above = right
        if wrong:
            what = f"{wrong} wrong nodes; they are loaded again with what they vouch for"
            path = self._inspection.shown(self._layout.partial_tree(self._blob))
            yield Finding(Kind.TREE, path, what, self._inspection.outcome(Done.REMOVED))
        return above

    def _check_chunks(self, content: Content, nodes: set[int]) -> Findings:
        """Those that the map speaks of, as far as the tree vouches for them."""
        wrong = 0
        for chunk, is_right in self._told(content, nodes):
            if not is_right:
                wrong += 1
                self._here[chunk] = 0
        if not wrong:
            return
        self._write_map()
        if self._blob not in self._inspection.wrong:  # else it was told already
            what = f"{wrong} chunks that were loaded are wrong; they are loaded again"
            done = self._inspection.outcome(Done.REBUILT)
            yield Finding(Kind.CHUNK, self._inspection.shown(self._path), what, done)

    def _make_map(self, content: Content, nodes: set[int], trouble: str) -> Finding:
        """Of what is right. Nothing of it: the next start removes what is here."""
        self._here[:] = b"\1" * self._chunks
        right = {chunk for chunk, is_right in self._told(content, nodes) if is_right}
        self._here[:] = bytes(chunk in right for chunk in range(self._chunks))
        path = self._inspection.shown(self._map)
        if not right:
            what = f"{trouble}; nothing of the blob can be told to be right, it is loaded anew"
            return Finding(Kind.MAP, path, what, self._inspection.remove(self._map))
        self._write_map()
        return Finding(Kind.MAP, path, trouble, self._inspection.outcome(Done.REBUILT))

    def _write_map(self) -> None:
        if self._inspection.mends:
            bits = bytearray(map_length(self._size))
            for chunk, is_here in enumerate(self._here):
                bits[chunk // 8] |= is_here << chunk % 8
            write_map(self._layout, self._blob, self._size, bytes(bits))

    def _told(self, content: Content, nodes: set[int]) -> Iterator[tuple[int, bool]]:
        """Of the chunks that are here, those of which it can be told, and whether they are right."""
        if not self._geometry.levels:
            if any(self._here):
                leaf = os.pread(content.fd, LEAF_SIZE, 0)
                yield 0, build_tree(hash_leaves(leaf, 0), self._size)[0] == self._blob
            return
        most = STRETCH // CHUNK_SIZE
        for first in range(0, self._chunks, most):
            here = range(first, min(first + most, self._chunks))
            wanted = [chunk for chunk in here if self._here[chunk] and chunk // _CHUNKS_PER_NODE in nodes]
            if wanted:
                right = right_chunks(content, first * CHUNK_SIZE)
                if self._blob not in self._inspection.wrong:  # else they were counted
                    self._inspection.progress.add(len(wanted) * CHUNK_SIZE)
                yield from ((chunk, right[chunk - first]) for chunk in wanted)
