"""The life of one landing worker: a process that verifies what came from a share, and writes it.

What came lies in memory that it shares with the daemon; the files come with the request, as descriptors.

    request    u32le number of the berth, u32le length, u64le where it goes in the content,
               u64le where its leaves' digests stand in the tree; descriptors of the content and of the tree
    answer     i32le: 0 it was right and is written, -1 it was wrong, else the errno of why it is not written

It ends when the socket does: the daemon is gone, however it went. What it had in hand then, it may still
write: bytes that were right, where they belong. Signals are for the daemon.
"""

import contextlib
import errno
import mmap
import os
import signal
import socket
import struct
import sys

from blobfs.merkle import hash_leaves
from blobfs.model import LEAF_SIZE

REQUEST = struct.Struct("<IIQQ")
ANSWER = struct.Struct("<i")
BERTH_SIZE = 1 << 20
"""Bytes that are verified and written together, at most."""
BERTHS = 16
WRITTEN = 0
WRONG = -1


def serve(connection: socket.socket, memory: memoryview) -> None:
    """Answers requests until there are no more."""
    while True:
        request, descriptors, _, _ = socket.recv_fds(connection, REQUEST.size, 2)
        if len(request) < REQUEST.size:
            return
        berth, length, offset, digests_at = REQUEST.unpack(request)
        start = berth * BERTH_SIZE
        try:
            with memory[start : start + length] as content:
                outcome = _land(content, descriptors[0], offset, descriptors[1], digests_at)
        except OSError as failure:
            outcome = failure.errno or errno.EIO
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        connection.sendall(ANSWER.pack(outcome))


def _land(content: memoryview, file: int, offset: int, tree: int, digests_at: int) -> int:
    digests = hash_leaves(content, offset // LEAF_SIZE)
    if os.pread(tree, len(digests), digests_at) != digests:
        return WRONG
    written = 0
    while written < len(content):
        written += os.pwrite(file, content[written:], offset + written)
    return WRITTEN


def main() -> None:
    """Arguments: the descriptors of the socket and of the memory."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    size = BERTHS * BERTH_SIZE
    with (
        socket.socket(fileno=int(sys.argv[1])) as connection,
        mmap.mmap(int(sys.argv[2]), size, prot=mmap.PROT_READ) as shared,
        memoryview(shared) as memory,
        contextlib.suppress(ConnectionError),  # the daemon went while it was being answered
    ):
        serve(connection, memory)
