"""Has the kernel ask for several names of one directory at once, and lets it read far ahead.

Without FUSE_PARALLEL_DIROPS in the answer to INIT the kernel asks for one name of a directory after the
other, and whoever comes behind a name that waits for a dead share waits with it, for names that are here too,
and cannot even be killed. libfuse would set it; pyfuse3 (3.5) takes it out and has no option for it. So the
one answer to INIT is taken from the descriptor, completed and passed on: while the kernel's INIT is served,
the descriptor is a socket.

The kernel lowers its read-ahead to what the answer allows, which libfuse takes from the question: 128 KiB.
Who mounts for a daemon without privileges sets it before (`premount`): the answer must not take it back.

The layout is that of <linux/fuse.h>: fuse_out_header (u32 length, s32 error, u64 unique), then fuse_init_out
(u32 major, u32 minor, u32 max_readahead, u32 flags, ...).
"""

import logging
import os
import socket
import struct

import pyfuse3

from blobfs.fuse.receiving import fuse_descriptors
from blobfs.fuse.tuning import READ_AHEAD_KIB

_log = logging.getLogger(__name__)

FUSE_PARALLEL_DIROPS = 1 << 18

_HEADER = struct.Struct("=IiQ")
_FIELD = struct.Struct("=I")
_READ_AHEAD_AT = _HEADER.size + 8
_FLAGS_AT = _HEADER.size + 12
_LARGEST = 4096
"""Bytes; the answer has about a hundred."""

_WAIT = "_wait_fuse_readable"
"""pyfuse3's own name for what its loop awaits between two requests."""


def complete_init_reply() -> None:
    """To be called while INIT is being served. Changes nothing where pyfuse3 is not as it is known."""
    wait = getattr(pyfuse3, _WAIT, None)
    descriptors = fuse_descriptors()
    if wait is None or len(descriptors) != 1:
        _log.warning("this pyfuse3 is another one: a lookup that waits holds up its whole directory")
        return
    (descriptor,) = descriptors
    kernel = os.dup(descriptor)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        os.dup2(theirs.fileno(), descriptor, inheritable=False)

    async def pass_on_first() -> object:
        """The loop comes back here as soon as the answer is sent."""
        setattr(pyfuse3, _WAIT, wait)
        with ours:
            ours.setblocking(False)
            try:
                os.write(kernel, completed(ours.recv(_LARGEST)))
            finally:
                os.dup2(kernel, descriptor, inheritable=False)
                os.close(kernel)
        return await wait()

    setattr(pyfuse3, _WAIT, pass_on_first)


def completed(reply: bytes) -> bytes:
    """An answer to INIT that says what it said, and that names may be asked for side by side."""
    if len(reply) < _FLAGS_AT + _FIELD.size:
        return reply  # an error, without a body
    (flags,) = _FIELD.unpack_from(reply, _FLAGS_AT)
    content = bytearray(reply)
    _FIELD.pack_into(content, _READ_AHEAD_AT, READ_AHEAD_KIB * 1024)
    _FIELD.pack_into(content, _FLAGS_AT, flags | FUSE_PARALLEL_DIROPS)
    return bytes(content)
