"""Between the kernel and pyfuse3: answers the hottest requests at once, and hands all others on.

What readers and writers of small files ask for (`at_once`) mostly needs nothing that waits, and costs a third
of the time without pyfuse3's way through two of trio's passes. Whatever cannot be answered at
once goes to pyfuse3 as if it had never been looked at:

1. pyfuse3's loop waits for requests by `_wait_fuse_readable`. `_wait` stands in its place: one task of the
   loop reads from the kernel, and answers what it can, until a request comes that is pyfuse3's.
2. That one is put into a socket, pyfuse3's descriptor becomes the socket's other end, and pyfuse3 reads it
   there, with no await in between. As soon as the operation begins (`taken`), or when the loop comes back,
   the descriptor is the kernel's connection again: so answers and notices go straight to the kernel.
3. What was answered in between, INIT and what libfuse refuses by itself, is passed on from the socket. So an
   answer can be completed on its way with what pyfuse3 (3.5) has no option for (`complete_next`).
4. pyfuse3 begins a task for each request that it reads, for it sees nobody else waiting, and one that comes
   back and finds another one reading ends.
5. WRITE may be larger than a socket takes, so each has a task of its own here.

The connection does not block: a request may be taken back before it is read.
"""

import errno
import logging
import os
import socket
from collections.abc import Awaitable, Callable

import pyfuse3
import trio

from blobfs.fuse.wire import (
    HEADER_SIZE,
    MAX_REQUEST,
    Answer,
    Buffer,
    Opcode,
    Request,
    completed_init,
    failure,
    is_success,
    parse_write,
    request_at,
    written,
)

_log = logging.getLogger(__name__)

AT_ONCE = 64
"""Requests that are answered before others have their turn: some milliseconds."""
LARGE_AT_ONCE = 8
"""The same for READs of much, up to 1 MiB each."""
_LARGEST_ANSWER = 1 << 14
"""Bytes, of those that come through the socket: INIT's has about a hundred, a refusal 16."""
_WAIT = "_wait_fuse_readable"
_GONE = (errno.ENODEV, errno.ECONNABORTED, errno.ENOTCONN, errno.EPERM, errno.EBADF)
"""What reading says of a connection that has ended."""

AnswerNow = Callable[[Request, memoryview], Answer | None]
Complete = Callable[[bytes], bytes]
Write = Callable[[int, int, bytes], Awaitable[int]]


class Front:
    """Of one session. Mutable: `_is_read`, whether a task reads; `_complete`, while the descriptor is the
    socket's: what becomes of the answer that comes through it."""

    def __init__(self, answer_now: AnswerNow, write: Write) -> None:
        self._answer_now = answer_now
        self._write = write
        self._is_read = False
        self._complete: Complete | None = None
        self._original: Callable[[], Awaitable[bool]] | None = None
        self._buffer = bytearray(MAX_REQUEST)
        self._view = memoryview(self._buffer)

    def begin(self, descriptor: int) -> None:
        """Between `pyfuse3.init` and `pyfuse3.main`, whose descriptor this is."""
        self._original = getattr(pyfuse3, _WAIT, None)
        if self._original is None:
            _log.warning("this pyfuse3 is another one: a lookup that waits holds up its whole directory")
            return
        self._descriptor, self._kernel = descriptor, os.dup(descriptor)
        os.set_blocking(self._kernel, False)
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setblocking(False)
        setattr(pyfuse3, _WAIT, self._wait)

    def end(self) -> None:
        """After the loop has ended. The connection ends with its last descriptor, and this is one."""
        if self._original is not None:
            setattr(pyfuse3, _WAIT, self._original)
            self._original = None
            os.close(self._kernel)
            self._ours.close()
            self._theirs.close()

    def taken(self) -> None:
        """An operation begins: what is sent from here on goes to the kernel."""
        if self._complete is not None:
            os.dup2(self._kernel, self._descriptor, inheritable=False)
            self._complete = None

    def complete_next(self, complete: Complete) -> None:
        """The very next answer is sent as what this makes of it. Nothing may be awaited before."""
        if self._original is not None:
            os.dup2(self._theirs.fileno(), self._descriptor, inheritable=False)
            self._complete = complete

    async def _wait(self) -> bool:
        """Until there is a request for the task of pyfuse3 that asks; False: it is not needed any more."""
        self._pass_on()
        if self._is_read:
            return False
        self._is_read = True
        try:
            while True:
                await trio.lowlevel.wait_readable(self._kernel)
                if (has_ended := self._answer_some()) is not None:
                    return not has_ended
        finally:
            self._is_read = False

    def _answer_some(self) -> bool | None:
        """True: the connection has ended; False: a request is pyfuse3's; None: there are none for now."""
        left = AT_ONCE
        while left > 0:
            left -= 1
            try:
                size = os.readv(self._kernel, [self._buffer])
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno in _GONE:
                    return True
                if error.errno in (errno.ENOENT, errno.EINTR):  # it was taken back
                    continue
                raise
            request = request_at(self._buffer)
            answer = self._answer_now(request, self._view[HEADER_SIZE:size])
            if isinstance(answer, tuple):
                self._send(*answer)
                del answer  # a view of a buffer that the next one is read to
                left -= AT_ONCE // LARGE_AT_ONCE
            elif answer is not None:
                self._send(answer)
            elif request.opcode == Opcode.WRITE:
                handle, offset, content = parse_write(self._view[HEADER_SIZE:size])
                nursery = trio.lowlevel.current_task().parent_nursery
                assert nursery is not None
                nursery.start_soon(self._answer_write, request.unique, handle, offset, bytes(content))
            elif request.opcode != Opcode.INTERRUPT:  # pyfuse3 knows none, nor do we: see vfs.waits
                self._hand_on(request, self._view[:size])
                return False
        return None

    async def _answer_write(self, unique: int, handle: int, offset: int, content: bytes) -> None:
        try:
            count = await self._write(handle, offset, content)
        except pyfuse3.FUSEError as error:
            self._send(failure(unique, error.errno))
        else:
            self._send(written(unique, count))

    def _send(self, *pieces: Buffer) -> None:
        try:
            os.writev(self._kernel, pieces)
        except OSError as error:  # the caller was killed, or the connection has ended
            _log.debug("nobody takes an answer any more: %s", error)

    def _hand_on(self, request: Request, message: memoryview) -> None:
        self._ours.send(message)
        self.complete_next(completed_init if request.opcode == Opcode.INIT else bytes)

    def _pass_on(self) -> None:
        """What came through the socket; of other threads' notices, what is no answer, as it is."""
        complete = self._complete
        if complete is None:
            return
        self.taken()
        while True:
            try:
                message = self._ours.recv(_LARGEST_ANSWER)
            except BlockingIOError:
                return
            self._send(complete(message) if is_success(message) else message)
