"""Completes answers on their way to the kernel, with what pyfuse3 (3.5) has no option for.

1. INIT: without FUSE_PARALLEL_DIROPS the kernel asks for one name of a directory after the other, and whoever
   comes behind a name that waits for a dead share waits with it, for names that are here too, and cannot even
   be killed. libfuse would set it; pyfuse3 takes it out.
2. INIT: the kernel lowers its read-ahead to what the answer allows, which libfuse takes from the question:
   128 KiB. Who mounts for a daemon without privileges sets it before (`premount`): the answer must not take
   it back.
3. INIT: without FUSE_HANDLE_KILLPRIV_V2 the kernel asks at every single write for the file's capabilities,
   which a write takes away. There are none here; the set-id bits, which it takes too, the file system drops.
4. OPEN: with FOPEN_NOFLUSH the kernel does not ask at each close whether there is something to write, which
   is a third of the round trips of a small file that is read. Linux 5.16's; older ones ignore it.

Such an answer is taken from the descriptor, completed and passed on: while it is sent, the descriptor is a
socket. That works because nothing is awaited from the return of the operation to the sending of the answer,
and after that the loop first comes back to what it waits with, or ends: both lead through here. Other threads
may send notices meanwhile, which take the same way and are passed on as they are.

The layout is that of <linux/fuse.h>: fuse_out_header (u32 length, s32 error, u64 unique), then fuse_init_out
(u32 major, u32 minor, u32 max_readahead, u32 flags, ...) or fuse_open_out (u64 fh, u32 open_flags, ...).
"""

import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pyfuse3

from blobfs.fuse.tuning import READ_AHEAD_KIB

_log = logging.getLogger(__name__)

FUSE_PARALLEL_DIROPS = 1 << 18
FUSE_HANDLE_KILLPRIV_V2 = 1 << 28
FOPEN_NOFLUSH = 1 << 5

_HEADER = struct.Struct("=IiQ")
_FIELD = struct.Struct("=I")
_READ_AHEAD_AT = _HEADER.size + 8
_INIT_FLAGS_AT = _HEADER.size + 12
_OPEN_FLAGS_AT = _HEADER.size + 8
_LARGEST = 1 << 14
"""Bytes; INIT's answer has about a hundred, a notice of pruned names (`pruning`) 4 KiB."""

_LOOP = "_session_loop"
_WAIT = "_wait_fuse_readable"
"""pyfuse3's own names for the task that serves requests, and for what it awaits between two of them."""


class Replies:
    """Of one session. Mutable: `_complete` is set from `complete_next` until the answer is passed on."""

    def __init__(self) -> None:
        self._complete: Callable[[bytes], bytes] | None = None
        self._original: dict[str, Callable[..., Awaitable[Any]]] = {}

    def begin(self, descriptor: int) -> None:
        """Before the loop begins. Completes nothing where pyfuse3 is not as it is known."""
        found = {name: getattr(pyfuse3, name, None) for name in (_LOOP, _WAIT)}
        loop, wait = found.values()
        if loop is None or wait is None:
            _log.warning("this pyfuse3 is another one: a lookup that waits holds up its whole directory")
            return

        async def pass_on_and_wait() -> Any:
            self._pass_on()
            return await wait()

        async def loop_and_pass_on(*args: Any) -> None:
            try:
                await loop(*args)
            finally:
                self._pass_on()

        self._descriptor, self._kernel = descriptor, os.dup(descriptor)
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setblocking(False)
        self._original = {_LOOP: loop, _WAIT: wait}
        setattr(pyfuse3, _WAIT, pass_on_and_wait)
        setattr(pyfuse3, _LOOP, loop_and_pass_on)

    def end(self) -> None:
        """After the loop has ended. The connection ends when its last descriptor is closed: this is one."""
        if self._original:
            for name, original in self._original.items():
                setattr(pyfuse3, name, original)
            self._original = {}
            os.close(self._kernel)
            self._ours.close()
            self._theirs.close()

    def complete_next(self, complete: Callable[[bytes], bytes]) -> None:
        """The very next answer is to be sent as what this makes of it. Nothing may be awaited before that."""
        if self._original:
            os.dup2(self._theirs.fileno(), self._descriptor, inheritable=False)
            self._complete = complete

    def _pass_on(self) -> None:
        if self._complete is None:
            return
        complete, self._complete = self._complete, None
        os.dup2(self._kernel, self._descriptor, inheritable=False)
        while True:
            try:
                message = self._ours.recv(_LARGEST)
            except BlockingIOError:
                return
            _, error, unique = _HEADER.unpack_from(message)
            is_answer = unique != 0 and error == 0
            try:
                os.write(self._kernel, complete(message) if is_answer else message)
            except FileNotFoundError:
                _log.debug("nobody waits for an answer any more")


def completed_init(reply: bytes) -> bytes:
    """That says what it said, that names may be asked for side by side, and that a write asks for nothing."""
    content = bytearray(reply)
    _FIELD.pack_into(content, _READ_AHEAD_AT, READ_AHEAD_KIB * 1024)
    return _with_flag(content, _INIT_FLAGS_AT, FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV_V2)


def without_flush(reply: bytes) -> bytes:
    """An answer to OPEN, for a file whose closes need no answer."""
    return _with_flag(bytearray(reply), _OPEN_FLAGS_AT, FOPEN_NOFLUSH)


def _with_flag(content: bytearray, at: int, flag: int) -> bytes:
    (flags,) = _FIELD.unpack_from(content, at)
    _FIELD.pack_into(content, at, flags | flag)
    return bytes(content)
