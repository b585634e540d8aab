"""A blob being loaded: sparse bytes, and a map of the chunks that were verified.

The format is in `blobfs.store.layout`.

A chunk is *missing*, *present* (its bytes are here and verified) or *claimed*: a map on the disk speaks of
it. Since that was written the bytes may have been lost or gone bad, so it is verified again before anyone
reads it. Bytes are written before their bit is set.
"""

import contextlib
import os
import threading
from pathlib import Path

from blobfs import errors
from blobfs.chunks import HEADER, ChunkMap, chunk_count, map_length
from blobfs.model import CHUNK_SIZE, BlobId, Name
from blobfs.record import BlobRecord
from blobfs.store.chunk_map import claim_all, read_map, write_map
from blobfs.store.failures import store_errors
from blobfs.store.files import Buffer, read_at, read_at_nowait, write_all
from blobfs.store.layout import PRIVATE_FILE_MODE, Layout
from blobfs.store.marks import DEMOTED, LOADED, YES, get_mark, remove_mark, set_mark
from blobfs.store.opening import Store
from blobfs.store.partial_tree import PartialTree
from blobfs.store.sealed import Content, place_blob
from blobfs.store.waiting import WaitingName, add_waiting, read_waiting

_MISSING, _PRESENT, _CLAIMED = 0, 1, 2
_AS_DIGITS = bytes.maketrans(bytes((_MISSING, _PRESENT, _CLAIMED)), b"010")


class Partial:
    """One blob being loaded.

    Mutable: `_states`, a byte for each chunk; `_bits`, the same as the map has it; the count and bytes
    of what is present; `_unsaved`, the span of map bytes to write. They change on the event loop only,
    `save_map` takes a copy of them under `_lock` in a worker thread.
    """

    def __init__(
        self,
        store: Store,
        key: str,
        size: int,
        fd: int,
        found: ChunkMap | None,
        is_demoted: bool = False,
        refusal: errors.StoreError | None = None,
    ) -> None:
        self.key = key
        self.size = size
        self.is_demoted = is_demoted
        """It was whole once, and wrong (`blobfs.store.demotion`)."""
        self.refusal = refusal
        """Why the disk does not even take its file, if so: nothing of it can be kept."""
        self.chunks = chunk_count(size)
        self.fd = fd
        self.present_bytes = 0
        self._layout = store.layout
        self._map = store.layout.partial_map(key)
        self._saved = found is not None
        self._bits = found.bits if found is not None else bytearray(map_length(size))
        self._states = bytearray(self.chunks)
        self._unsaved = (len(self._bits), 0)
        self._lock = threading.Lock()
        self._tree = PartialTree(store.layout, key, in_memory=refusal is not None)
        for chunk in found.chunks() if found is not None else ():
            self._states[chunk] = _CLAIMED

    def __repr__(self) -> str:
        here = self._states.count(_PRESENT)
        claimed = self._states.count(_CLAIMED)
        return f"Partial({self.key[:16]}, size={self.size}, chunks={here}/{self.chunks}, claimed={claimed})"

    @property
    def is_resumed(self) -> bool:
        """Whether there is a map on the disk: from before, or saved meanwhile."""
        return self._saved

    @property
    def is_whole(self) -> bool:
        return self.present_bytes == self.size

    def present(self, chunk: int) -> bool:
        return self._states[chunk] == _PRESENT

    def all_present(self, first: int, count: int) -> bool:
        return self._states.count(_PRESENT, first, first + count) == count

    def present_bits(self) -> bytes:
        """As a map has them, of what is present alone."""
        return self.present_number().to_bytes(len(self._bits), "little")

    def present_number(self) -> int:
        """Bit c is set where chunk c is present."""
        return int(self._states.translate(_AS_DIGITS)[::-1] or b"0", 2)

    def next_absent(self, first: int, stop: int) -> int:
        """The first chunk of a range that is not present; -1 if all are."""
        found = [self._states.find(state, first, stop) for state in (_MISSING, _CLAIMED)]
        return min((chunk for chunk in found if chunk >= 0), default=-1)

    def missing(self, first: int, count: int) -> list[tuple[int, int]]:
        """Runs (first, count) of chunks in that range that must be loaded."""
        return self._runs(_MISSING, first, count)

    def claimed(self, first: int, count: int) -> list[tuple[int, int]]:
        """Runs of chunks whose bytes are here but must be verified again: `confirm` or `unclaim` them."""
        return self._runs(_CLAIMED, first, count)

    def _runs(self, state: int, first: int, count: int) -> list[tuple[int, int]]:
        runs = []
        end = min(first + count, self.chunks)
        while (start := self._states.find(state, first, end)) >= 0:
            first = start + 1
            while first < end and self._states[first] == state:
                first += 1
            runs.append((start, first - start))
        return runs

    def mark(self, first: int, count: int) -> None:
        """These chunks are verified and written."""
        self._set(first, count, _PRESENT)

    def confirm(self, first: int, count: int) -> None:
        """These claimed chunks are verified."""
        self._set(first, count, _PRESENT)

    def unclaim(self, first: int, count: int) -> None:
        """These claimed chunks are wrong, or cannot be verified: they are loaded again."""
        self._set(first, count, _MISSING)

    def _set(self, first: int, count: int, state: int) -> None:
        if first < 0 or count < 1 or first + count > self.chunks:
            raise IndexError(f"chunks {first}+{count} of {self.chunks}")
        with self._lock:
            for chunk in range(first, first + count):
                before, self._states[chunk] = self._states[chunk], state
                gained = (state == _PRESENT) - (before == _PRESENT)
                self.present_bytes += gained * self._length(chunk)
                byte, bit = chunk // 8, 1 << chunk % 8
                self._bits[byte] = self._bits[byte] | bit if state else self._bits[byte] & ~bit
            low, high = self._unsaved
            self._unsaved = min(low, first // 8), max(high, (first + count - 1) // 8 + 1)

    def _length(self, chunk: int) -> int:
        return min(CHUNK_SIZE, self.size - chunk * CHUNK_SIZE)

    @store_errors()
    def write_chunks(self, first: int, content: Buffer) -> None:
        """Whole chunks from `first` on (the blob's last may be short). `mark` them when it has returned."""
        offset = first * CHUNK_SIZE
        end = offset + len(content)
        if end > self.size or (end % CHUNK_SIZE and end != self.size):
            raise ValueError(f"{len(content)} bytes at chunk {first} are no whole chunks")
        write_all(self.fd, content, offset)

    def read(self, offset: int, length: int) -> bytes:
        """Whatever is there: the caller knows what is present."""
        return read_at(self.fd, offset, length)

    def read_nowait(self, offset: int, length: int) -> Buffer | None:
        return read_at_nowait(self.fd, offset, length)

    @store_errors()
    def save_map(self) -> None:
        """Writes what changed; without a map the load is not resumed after a restart. One at a time."""
        if self.refusal is not None:
            return
        with self._lock:
            low, high = self._unsaved if self._saved else (0, len(self._bits))
            content = bytes(self._bits[low:high])
            self._unsaved = (len(self._bits), 0)
        try:
            if not self._saved:
                write_map(self._layout, self.key, self.size, content)
                self._saved = True
            elif content:
                with open(self._map, "r+b") as file:
                    write_all(file.fileno(), content, HEADER.size + low)
        except BaseException:
            with self._lock:
                self._unsaved = 0, len(self._bits)
            raise

    def read_tree(self, offset: int, length: int) -> bytes:
        """What never came reads as zeros, which are no digests."""
        return self._tree.read(offset, length)

    @property
    def tree_fd(self) -> int:
        """As `read_tree`, for who reads by himself."""
        return self._tree.fd

    def write_tree(self, offset: int, content: Buffer) -> None:
        self._tree.write(offset, content)

    def add_name(self, name: Name, record: BlobRecord, share: str) -> None:
        """Remembers a name to publish when the blob is whole; a second time with what is newer."""
        if self.refusal is not None:
            return
        add_waiting(self._layout, self.key, WaitingName(name, record, share))

    def names(self) -> list[WaitingName]:
        """Those of `add_name`."""
        return read_waiting(self._layout, self.key)

    def close(self) -> None:
        """Closes the descriptors; the files stay."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1
        self._tree.close()

    @store_errors()
    def drop(self) -> None:
        """Removes all files, the waiting names too, and closes."""
        _remove_all(self._layout, self.key)
        self.close()


@store_errors()
def open_partial(store: Store, key: str, size: int) -> Partial:
    """Resumes the load of `key` (a blob id, or the key of a plain file), or starts it.

    A map that is broken or of another size makes it start anew. Of what was whole once, it is made again.
    On a disk that takes nothing more it can be loaded all the same, to be passed on.
    """
    try:
        return _open_on_disk(store, key, size)
    except (errors.StoreFull, errors.QuotaExceeded, errors.StoreReadOnly) as refusal:
        return Partial(store, key, size, os.memfd_create(key, os.MFD_CLOEXEC), None, refusal=refusal)


@store_errors()
def _open_on_disk(store: Store, key: str, size: int) -> Partial:
    path = store.layout.partial_content(key)
    found = _read_map(store.layout, key, size)
    if found is not None:
        _make_writable(store.layout, key)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE_MODE)
    try:
        is_demoted = get_mark(fd, DEMOTED) == YES
        if found is None:
            store.layout.partial_map(key).unlink(missing_ok=True)
            store.layout.partial_tree(key).unlink(missing_ok=True)
            os.ftruncate(fd, 0)
            if not is_demoted:  # it may be this node's own
                set_mark(fd, LOADED, YES)  # before a byte of it is here: what has the mark may be evicted
        os.ftruncate(fd, size)
    except BaseException:
        os.close(fd)
        raise
    return Partial(store, key, size, fd, found, is_demoted)


def _read_map(layout: Layout, key: str, size: int) -> ChunkMap | None:
    """None: whatever there is of it cannot be gone on with."""
    path = layout.partial_content(key)
    if not path.exists() or path.stat().st_size != size:
        return None
    found = read_map(layout, key)
    if (found is None or found.size != size) and _is_demoted(path):
        claim_all(layout, key, size)
        found = read_map(layout, key)
    return found if found is not None and found.size == size else None


def _make_writable(layout: Layout, key: str) -> None:
    """What was in the share is read-only, if a crash came before that was changed."""
    for path in (layout.partial_content(key), layout.partial_tree(key)):
        with contextlib.suppress(FileNotFoundError):
            path.chmod(PRIVATE_FILE_MODE)


@store_errors()
def place_partial(store: Store, partial: Partial, content: Content, mtime_ns: int) -> None:
    """Shares a whole blob whose bytes are durable. What remains is its descriptor and its waiting names.

    The caller publishes the names and then calls `drop`.
    """
    path = store.layout.partial_content(partial.key)
    if partial.is_demoted:
        remove_mark(path, DEMOTED)
    place_blob(store, path, content, mtime_ns)
    _remove_content(store.layout, partial.key)


def partial_bytes(store: Store, key: str, size: int) -> int:
    """About how many bytes of a load that nobody works on are here: what its file takes up on the disk."""
    try:
        return min(store.layout.partial_content(key).stat().st_blocks * 512, size)
    except OSError:
        return 0


@store_errors()
def list_partials(store: Store) -> list[tuple[str, int]]:
    """At start: key and size of each load that can be resumed. The remains of others are removed."""
    layout = store.layout
    found = []
    for key in sorted({text.partition(".")[0] for text in os.listdir(layout.partial)}):
        path = layout.partial_content(key)
        if layout.blob(BlobId(key)).exists() or not path.exists():
            _remove_content(layout, key)  # its names may wait for publication still
            continue
        size = path.stat().st_size
        if _read_map(layout, key, size) is None:
            _remove_all(layout, key)
            continue
        if _is_demoted(path) and not layout.partial_tree(key).exists():
            with contextlib.suppress(FileNotFoundError):  # a crash came just before that
                os.rename(layout.tree(BlobId(key)), layout.partial_tree(key))
        found.append((key, size))
    return found


@store_errors()
def drop_remains(store: Store, key: str) -> None:
    """What there is of a blob that came here in another way, and that nobody works on. The names stay."""
    if store.layout.blob(BlobId(key)).exists():
        _remove_content(store.layout, key)


def _is_demoted(path: Path) -> bool:
    return get_mark(path, DEMOTED) == YES


def _remove_all(layout: Layout, key: str) -> None:
    # The names first: alone, they would mean a blob that is whole.
    layout.partial_names(key).unlink(missing_ok=True)
    _remove_content(layout, key)


def _remove_content(layout: Layout, key: str) -> None:
    layout.partial_content(key).unlink(missing_ok=True)
    layout.partial_map(key).unlink(missing_ok=True)
    layout.partial_tree(key).unlink(missing_ok=True)
