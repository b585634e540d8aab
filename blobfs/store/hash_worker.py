"""The life of one hash worker: a process that hashes what it finds in memory it shares with the daemon.

    request    u64le number of the first leaf, u64le length in bytes; with it a file's descriptor, or none
    answer     i64le length in bytes of what was hashed, or an error's number, negative;
               the digests of its leaves, 32 bytes each

Of a file those leaves are read and hashed, as far as it has them; without one, what the arena begins with.

It ends when the socket does: the daemon is gone, however it went. Signals are for the daemon, which may want
to hash what was closed last before it ends.
"""

import contextlib
import mmap
import os
import signal
import socket
import struct
import sys
from errno import EIO

from blobfs.merkle import hash_leaves
from blobfs.model import LEAF_SIZE

REQUEST = struct.Struct("<QQ")
ANSWER = struct.Struct("<q")
ARENA_SIZE = 1 << 20
"""Bytes of the memory that is shared."""
FILE_PIECE = 4 << 20
"""Bytes of a file that are hashed in one request at most."""
_STEP = 1 << 18
"""Bytes that are read at a time: they are still in the processor's cache when they are hashed."""
IDLE = "idle"
LOWEST = 19
"""The nice value of who has all the time in the world."""


def serve(connection: socket.socket, arena: mmap.mmap) -> None:
    """Answers requests until there are no more."""
    buffer = memoryview(bytearray(_STEP))
    while True:
        request, files, _, _ = socket.recv_fds(connection, REQUEST.size, 1, socket.MSG_WAITALL)
        if len(request) < REQUEST.size:
            return
        first_leaf, length = REQUEST.unpack(request)
        if files:
            connection.sendall(_answer_file(files[0], first_leaf, length, buffer))
        else:
            with memoryview(arena) as view, view[:length] as piece:
                connection.sendall(ANSWER.pack(length) + hash_leaves(piece, first_leaf))


def _answer_file(fd: int, first_leaf: int, length: int, buffer: memoryview) -> bytes:
    digests, done = [], 0
    try:
        while done < length:
            step = buffer[: min(_STEP, length - done)]
            count = _fill(fd, step, first_leaf * LEAF_SIZE + done)
            digests.append(hash_leaves(step[:count], first_leaf + done // LEAF_SIZE))
            done += count
            if count < len(step):
                break
    except OSError as error:
        return ANSWER.pack(-(error.errno or EIO))
    finally:
        os.close(fd)
    return ANSWER.pack(done) + b"".join(digests)


def _fill(fd: int, buffer: memoryview, offset: int) -> int:
    """How many bytes there were."""
    filled = 0
    while filled < len(buffer) and (count := os.preadv(fd, [buffer[filled:]], offset + filled)):
        filled += count
    return filled


def main() -> None:
    """Arguments: the descriptors of the socket and of the arena; `IDLE`, if others come first."""
    if IDLE in sys.argv[3:]:
        os.nice(LOWEST)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with (
        socket.socket(fileno=int(sys.argv[1])) as connection,
        mmap.mmap(int(sys.argv[2]), ARENA_SIZE, prot=mmap.PROT_READ) as arena,
        contextlib.suppress(ConnectionError),  # the daemon went while it was being answered
    ):
        serve(connection, arena)
