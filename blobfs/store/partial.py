"""A blob being loaded: sparse bytes, and a map of the chunks that were verified.

The format is in `blobfs.store.layout`.

A chunk is *missing*, *present* (its bytes are here and verified) or *claimed*: after an unclean end the
map says it is present, but the bytes may not have reached the disk, so it is verified again before
anyone reads it. Bytes are written before their bit is set.
"""

import os
import struct
import threading

from blobfs.model import CHUNK_SIZE, BlobId, Name
from blobfs.record import BlobRecord
from blobfs.store.failures import store_errors
from blobfs.store.files import Buffer, read_at, read_at_nowait, replace_file, write_all
from blobfs.store.layout import MAP_MAGIC, PRIVATE_FILE_MODE, Layout
from blobfs.store.marks import CLAIMED, LOADED, YES, get_mark, remove_mark, set_mark
from blobfs.store.opening import Store
from blobfs.store.sealed import Content, place_blob
from blobfs.store.waiting import WaitingName, add_waiting, read_waiting

_MAP_HEADER = struct.Struct(f"<{len(MAP_MAGIC)}sQ")

_MISSING, _PRESENT, _CLAIMED = 0, 1, 2


class Partial:
    """One blob being loaded.

    Mutable: `_states`, a byte for each chunk; `_bits`, the same as the map has it; the count and bytes
    of what is present; `_unsaved`, the span of map bytes to write. They change on the event loop only,
    `save_map` takes a copy of them under `_lock` in a worker thread.
    """

    def __init__(self, store: Store, key: str, size: int, fd: int, bits: bytearray | None) -> None:
        self.key = key
        self.size = size
        self.chunks = -(-size // CHUNK_SIZE)
        self.fd = fd
        self.present_bytes = 0
        self._layout = store.layout
        self._map = store.layout.partial_map(key)
        self._saved = bits is not None
        self._is_distrusted = self._saved and get_mark(self._map, CLAIMED) == YES
        self._bits = bits = bits or bytearray(_map_length(size))
        self._states = bytearray(self.chunks)
        self._unsaved = (len(bits), 0)
        self._lock = threading.Lock()
        self._tree_fd = -1
        for chunk in _set_bits(bits, self.chunks):
            self._states[chunk] = _CLAIMED if self._is_distrusted else _PRESENT
            self.present_bytes += 0 if self._is_distrusted else self._length(chunk)

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

    def read_nowait(self, offset: int, length: int) -> bytes | None:
        return read_at_nowait(self.fd, offset, length)

    @store_errors()
    def save_map(self) -> None:
        """Writes what changed; without a map the load is not resumed after a restart. One at a time."""
        with self._lock:
            low, high = self._unsaved if self._saved else (0, len(self._bits))
            content = bytes(self._bits[low:high])
            self._unsaved = (len(self._bits), 0)
            is_verified = _CLAIMED not in self._states
        try:
            if not self._saved:
                header = _MAP_HEADER.pack(MAP_MAGIC, self.size)
                replace_file(self._layout, self._map, header + content, PRIVATE_FILE_MODE)
                self._saved = True
            elif content:
                with open(self._map, "r+b") as file:
                    write_all(file.fileno(), content, _MAP_HEADER.size + low)
            if self._is_distrusted and is_verified:
                remove_mark(self._map, CLAIMED)
                self._is_distrusted = False
        except BaseException:
            with self._lock:
                self._unsaved = 0, len(self._bits)
            raise

    def read_tree(self, offset: int, length: int) -> bytes:
        """What never came reads as zeros, which are no digests."""
        content = read_at(self._tree(), offset, length)
        return content + bytes(length - len(content))

    @store_errors()
    def write_tree(self, offset: int, content: Buffer) -> None:
        write_all(self._tree(), content, offset)

    @store_errors()
    def _tree(self) -> int:
        with self._lock:
            if self._tree_fd < 0:
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
                self._tree_fd = os.open(self._layout.partial_tree(self.key), flags, PRIVATE_FILE_MODE)
            return self._tree_fd

    def add_name(self, name: Name, record: BlobRecord, share: str) -> None:
        """Remembers a name to publish when the blob is whole; a second time with what is newer."""
        add_waiting(self._layout, self.key, WaitingName(name, record, share))

    def names(self) -> list[WaitingName]:
        """Those of `add_name`."""
        return read_waiting(self._layout, self.key)

    def close(self) -> None:
        """Closes the descriptors; the files stay."""
        for fd in (self.fd, self._tree_fd):
            if fd >= 0:
                os.close(fd)
        self.fd = self._tree_fd = -1

    @store_errors()
    def drop(self) -> None:
        """Removes all files, the waiting names too, and closes."""
        _remove_all(self._layout, self.key)
        self.close()


@store_errors()
def open_partial(store: Store, key: str, size: int) -> Partial:
    """Resumes the load of `key` (a blob id, or the key of a plain file), or starts it.

    A map that is broken or of another size makes it start anew.
    """
    path = store.layout.partial_content(key)
    bits = _read_bits(store.layout, key, size)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE_MODE)
    try:
        if bits is None or os.fstat(fd).st_size != size:
            bits = None
            store.layout.partial_map(key).unlink(missing_ok=True)
            store.layout.partial_tree(key).unlink(missing_ok=True)
            os.ftruncate(fd, 0)
            set_mark(fd, LOADED, YES)  # before a byte of it is here: what has the mark may be evicted
        os.ftruncate(fd, size)
    except BaseException:
        os.close(fd)
        raise
    return Partial(store, key, size, fd, bits)


@store_errors()
def place_partial(store: Store, partial: Partial, content: Content, mtime_ns: int) -> None:
    """Shares a whole blob whose bytes are durable. What remains is its descriptor and its waiting names.

    The caller publishes the names and then calls `drop`.
    """
    place_blob(store, store.layout.partial_content(partial.key), content, mtime_ns)
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
        size = _read_map_size(layout, key)
        if layout.blob(BlobId(key)).exists() or not layout.partial_content(key).exists():
            _remove_content(layout, key)  # its names may wait for publication still
        elif size is None:
            _remove_all(layout, key)
        else:
            found.append((key, size))
    return found


def _remove_all(layout: Layout, key: str) -> None:
    # The names first: alone, they would mean a blob that is whole.
    layout.partial_names(key).unlink(missing_ok=True)
    _remove_content(layout, key)


def _remove_content(layout: Layout, key: str) -> None:
    layout.partial_content(key).unlink(missing_ok=True)
    layout.partial_map(key).unlink(missing_ok=True)
    layout.partial_tree(key).unlink(missing_ok=True)


def _map_length(size: int) -> int:
    """Bytes of the bitmap."""
    chunks = -(-size // CHUNK_SIZE)
    return -(-chunks // 8)


def _read_map_size(layout: Layout, key: str) -> int | None:
    """The size of the blob, as its map says. None: no map, or a broken one."""
    try:
        raw = layout.partial_map(key).read_bytes()
    except FileNotFoundError:
        return None
    if len(raw) < _MAP_HEADER.size:
        return None
    magic, size = _MAP_HEADER.unpack_from(raw)
    is_sound = magic == MAP_MAGIC and len(raw) == _MAP_HEADER.size + _map_length(size)
    return int(size) if is_sound else None


def _read_bits(layout: Layout, key: str, size: int) -> bytearray | None:
    if _read_map_size(layout, key) != size:
        return None
    return bytearray(layout.partial_map(key).read_bytes()[_MAP_HEADER.size :])


def _set_bits(bits: bytearray, chunks: int) -> list[int]:
    return [chunk for chunk in range(chunks) if bits[chunk // 8] >> chunk % 8 & 1]
