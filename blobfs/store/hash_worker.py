"""The life of one hash worker: a process that hashes what it finds in memory it shares with the daemon.

    request    u64le number of the first leaf, u64le length in bytes
    answer     the digests of the leaves of so many bytes at the beginning of the arena, 32 bytes each

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

from blobfs.merkle import hash_leaves

REQUEST = struct.Struct("<QQ")
ARENA_SIZE = 1 << 20
"""Bytes that are hashed in one request at most."""
IDLE = "idle"
LOWEST = 19
"""The nice value of who has all the time in the world."""


def serve(connection: socket.socket, arena: mmap.mmap) -> None:
    """Answers requests until there are no more."""
    while len(request := connection.recv(REQUEST.size, socket.MSG_WAITALL)) == REQUEST.size:
        first_leaf, length = REQUEST.unpack(request)
        with memoryview(arena) as view, view[:length] as piece:
            connection.sendall(hash_leaves(piece, first_leaf))


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
