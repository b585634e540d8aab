"""Hashing that does not stand in the daemon's way: long pieces go to processes of their own.

hashlib lets go of the interpreter's lock for every leaf and has to get it back 8 KiB later: beside a busy
event loop that made hashing five times slower than the processor could (measured: 8 s instead of 0.8 s for a
GiB). A piece is written into memory that a worker shares; a part of a file it reads for itself. Only digests
come back. Short pieces, and everything when there is no worker to be had, are hashed right here.
"""

import contextlib
import logging
import mmap
import os
import queue
import socket
import subprocess
import sys
import threading
from pathlib import Path

from blobfs import errors
from blobfs.merkle import DIGEST_SIZE, hash_leaves
from blobfs.model import LEAF_SIZE
from blobfs.store.failures import store_errors
from blobfs.store.files import Buffer, read_at, write_all
from blobfs.store.hash_worker import ANSWER, ARENA_SIZE, FILE_PIECE, IDLE, REQUEST

_log = logging.getLogger(__name__)

WORKERS = min(4, os.cpu_count() or 1)
"""One does 1.3 GiB/s, more than most disks and networks bring."""
WORTH_IT = 256 * 1024
"""Bytes from which on the way to a worker and back is cheaper than the wait for the interpreter's lock."""
ANSWER_SECONDS = 30.0
"""A worker that takes longer for a MiB than this is stuck, and is replaced."""
END_SECONDS = 2.0

_BOOT = "import sys; sys.path.append(sys.argv.pop(1)); import blobfs.store.hash_worker as it; it.main()"
"""Finds our package where the daemon found it, and nothing in the current directory."""
_ROOT = os.fspath(Path(__file__).parents[2])


class _Worker:
    """One process, its socket and the memory it shares. An idle one runs when nobody else wants to."""

    def __init__(self, is_idle: bool) -> None:
        with contextlib.ExitStack() as undo:
            self.arena_fd = os.memfd_create("blobfs-hashing", os.MFD_CLOEXEC)
            undo.callback(os.close, self.arena_fd)
            os.ftruncate(self.arena_fd, ARENA_SIZE)
            self._arena = undo.enter_context(mmap.mmap(self.arena_fd, ARENA_SIZE))
            self._connection, theirs = socket.socketpair()
            undo.enter_context(self._connection)
            with theirs:
                self._connection.settimeout(ANSWER_SECONDS)
                inherited = (theirs.fileno(), self.arena_fd)
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-c", _BOOT, _ROOT, *map(str, inherited), *[IDLE] * is_idle],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=inherited,
                )
            undo.pop_all()

    def hash_arena(self, length: int, first_leaf: int) -> bytes:
        """Raises OSError when the worker is no more, or does not answer."""
        self._connection.sendall(REQUEST.pack(first_leaf, length))
        return self._answer()

    def hash_file(self, fd: int, offset: int, length: int) -> bytes:
        """Of what the file has of it. The same; and `StoreError` when the disk cannot read it."""
        socket.send_fds(self._connection, [REQUEST.pack(offset // LEAF_SIZE, length)], [fd])
        return self._answer()

    def _answer(self) -> bytes:
        (length,) = ANSWER.unpack(self._receive(ANSWER.size))
        if length < 0:
            with store_errors():
                raise OSError(-length, os.strerror(-length))
        return self._receive(-(-length // LEAF_SIZE) * DIGEST_SIZE)

    def _receive(self, wanted: int) -> bytes:
        answer = b""
        while len(answer) < wanted:
            piece = self._connection.recv(wanted - len(answer))
            if not piece:
                raise ConnectionError("a hash worker ended")
            answer += piece
        return answer

    def end(self) -> None:
        """It ends by itself when the socket closes."""
        self._connection.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)
        self._process.kill()
        self._process.wait()
        self._arena.close()
        os.close(self.arena_fd)


class HashWorkers:
    """Hashes leaves; for any thread. Mutable: the workers, made when they are first needed; `pieces`
    counts."""

    def __init__(self, most: int = WORKERS, *, is_idle: bool = False) -> None:
        self._most = most
        self._is_idle = is_idle
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        """None stands for a worker that is no more: whoever waits for one is to look again."""
        self._lock = threading.Lock()
        self._made = 0
        self._is_closed = False
        self.pieces = 0
        """Hashed by workers."""

    def hash_leaves(self, content: Buffer, first_leaf: int) -> bytes:
        """As `merkle.hash_leaves`. Blocks."""
        if len(content) < WORTH_IT:
            return hash_leaves(content, first_leaf)
        view = memoryview(content)
        return b"".join(
            self._hash_piece(view[start : start + ARENA_SIZE], first_leaf + start // LEAF_SIZE)
            for start in range(0, len(view), ARENA_SIZE)
        )

    def _hash_piece(self, piece: memoryview, first_leaf: int) -> bytes:
        worker = self._take() if len(piece) >= WORTH_IT else None
        if worker is None:
            return hash_leaves(piece, first_leaf)
        try:
            write_all(worker.arena_fd, piece, 0)
            digests = worker.hash_arena(len(piece), first_leaf)
        except OSError as error:
            self._replace(worker, error)
            return hash_leaves(piece, first_leaf)
        self._give_back(worker)
        return digests

    def hash_file(self, fd: int, offset: int, length: int) -> bytes:
        """Of `length` bytes of a file (fewer where it ends before) from a leaf's beginning on. Blocks."""
        digests = bytearray()
        for start in range(offset, offset + length, FILE_PIECE):
            step = min(FILE_PIECE, offset + length - start)
            found = self._hash_file_piece(fd, start, step)
            digests += found
            if len(found) < -(-step // LEAF_SIZE) * DIGEST_SIZE:
                break
        return bytes(digests)

    def _hash_file_piece(self, fd: int, offset: int, length: int) -> bytes:
        worker = self._take() if length >= WORTH_IT else None
        if worker is None:
            return hash_leaves(read_at(fd, offset, length), offset // LEAF_SIZE)
        try:
            digests = worker.hash_file(fd, offset, length)
        except errors.StoreError:
            self._give_back(worker)
            raise
        except OSError as error:
            self._replace(worker, error)
            return hash_leaves(read_at(fd, offset, length), offset // LEAF_SIZE)
        self._give_back(worker)
        return digests

    def _take(self) -> _Worker | None:
        """A worker that is free, made if there may be one more; waits for one. None: there is none."""
        while True:
            worker = None
            with contextlib.suppress(queue.Empty):
                worker = self._idle.get(timeout=0 if self._may_make() else ANSWER_SECONDS)
            if worker is not None:
                return worker
            with self._lock:
                if self._is_closed:
                    self._idle.put(None)  # whoever waits behind us is to know it too
                    return None
                if self._made == self._most:
                    continue
                self._made += 1
            return self._start()

    def _may_make(self) -> bool:
        with self._lock:
            return self._is_closed or self._made < self._most

    def _start(self) -> _Worker | None:
        try:
            return _Worker(self._is_idle)
        except OSError as error:
            _log.warning("cannot start a hash worker: %s", error)
            self._lose()
            return None

    def _give_back(self, worker: _Worker) -> None:
        self.pieces += 1
        with self._lock:
            if not self._is_closed:
                self._idle.put(worker)
                return
        worker.end()
        self._lose()

    def _replace(self, worker: _Worker, error: OSError) -> None:
        _log.warning("a hash worker is replaced: %s", error)
        worker.end()
        self._lose()

    def _lose(self) -> None:
        with self._lock:
            self._made -= 1
        self._idle.put(None)

    def close(self) -> None:
        """Ends the workers; what is hashed from now on is hashed here."""
        with self._lock:
            self._is_closed = True
        while True:
            try:
                worker = self._idle.get_nowait()
            except queue.Empty:
                return
            if worker is not None:
                worker.end()
