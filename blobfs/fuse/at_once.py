"""Operations that the file system answers without waiting, from the request's bytes to the answer's.

What it cannot answer so, or what fails, is asked for again as any other operation is (`adapter`): it is
refused there, and what is wrong is told there. Only that a name is not there, which the kernel asks before it
makes a file, and that a file has no capabilities, which it asks before it writes to it, is refused here.
Each answer is counted as an operation.
"""

import logging
from collections import Counter
from collections.abc import Callable

import trio

from blobfs.errors import BlobfsError, NameMissing, NotSupported
from blobfs.fuse import wire
from blobfs.fuse.counts import OperationCounts
from blobfs.fuse.interface import FileSystem
from blobfs.fuse.wire import Answer, Opcode, Request
from blobfs.vfs.attributes import Opened

_log = logging.getLogger(__name__)


def open_flags(opened: Opened) -> int:
    return (
        (wire.FOPEN_KEEP_CACHE if opened.keep_cache else 0)
        | (wire.FOPEN_DIRECT_IO if opened.direct_io else 0)
        | (0 if opened.needs_flush else wire.FOPEN_NOFLUSH)
    )


Refused = Callable[[str, tuple[object, ...], Exception], int]


class AtOnce:
    """Of one mount. Mutable: the counters, and the handles that are given out; the adapter has the same."""

    def __init__(
        self, fs: FileSystem, counts: OperationCounts, handles: Counter[int], refused: Refused
    ) -> None:
        """`refused` counts an error, and says what it is called in the answer."""
        self._fs = fs
        self._refused = refused
        self._counts = counts
        self._handles = handles
        self._answers: dict[int, tuple[str, Callable[[Request, memoryview], Answer | None]]] = {
            Opcode.LOOKUP: ("lookup", self._lookup),
            Opcode.GETATTR: ("getattr", self._getattr),
            Opcode.SETATTR: ("setattr", self._setattr),
            Opcode.GETXATTR: ("getxattr", self._getxattr),
            Opcode.CREATE: ("create", self._create),
            Opcode.OPEN: ("open", self._open),
            Opcode.READ: ("read", self._read),
            Opcode.WRITE: ("write", self._write),
            Opcode.FLUSH: ("flush", self._flush),
            Opcode.RELEASE: ("release", self._release),
        }

    def answer(self, request: Request, body: memoryview) -> Answer | None:
        """None: ask the operation itself. `body` is what comes after the header, and is reused."""
        name, answer = self._answers.get(request.opcode, ("", None))
        if answer is None:
            return None
        begun = trio.current_time()
        try:
            found = answer(request, body)
        except BlobfsError as error:
            _log.debug("%s: asked for again: %s", name, error)
            return None
        except Exception:  # the operation may still have an answer, but this is a defect, and slow
            _log.exception("%s: unexpected, asked for again", name)
            return None
        if found is not None:
            self._counts.asked[name] += 1
            self._counts.took[name].add(trio.current_time() - begun)
        return found

    def _lookup(self, request: Request, body: memoryview) -> bytes | None:
        name = wire.parse_name(body)
        try:
            found = self._fs.lookup_nowait(request.inode, name)
        except NameMissing as absent:
            return wire.failure(request.unique, self._refused("lookup", (request.inode, name), absent))
        return None if found is None else wire.entry(request.unique, found)

    def _getattr(self, request: Request, body: memoryview) -> bytes | None:
        return wire.attributes(request.unique, self._fs.getattr_nowait(request.inode))

    def _setattr(self, request: Request, body: memoryview) -> bytes | None:
        change = wire.parse_setattr(body)
        found = None if change is None else self._fs.setattr_nowait(request.inode, change)
        return None if found is None else wire.attributes(request.unique, found)

    def _getxattr(self, request: Request, body: memoryview) -> bytes | None:
        name = wire.parse_getxattr(body)
        try:
            self._fs.demand_known_xattr(request.inode, name)
        except NotSupported as unknown:
            return wire.failure(request.unique, self._refused("getxattr", (request.inode, name), unknown))
        return None

    def _create(self, request: Request, body: memoryview) -> bytes | None:
        name, mode, flags = wire.parse_create(body)
        made = self._fs.create_nowait(request.inode, name, mode, flags, request.pid)
        if made is None:
            return None
        opened, attributes = made
        self._handles[opened.handle] += 1
        return wire.created(request.unique, attributes, opened.handle, open_flags(opened))

    def _open(self, request: Request, body: memoryview) -> bytes | None:
        opened = self._fs.open_nowait(request.inode, wire.parse_open(body), request.pid)
        if opened is None:
            return None
        self._handles[opened.handle] += 1
        return wire.opened(request.unique, opened.handle, open_flags(opened))

    def _read(self, request: Request, body: memoryview) -> Answer | None:
        content = self._fs.read_nowait(*wire.parse_read(body))
        return None if content is None else wire.read(request.unique, content)

    def _write(self, request: Request, body: memoryview) -> bytes | None:
        handle, offset, content = wire.parse_write(body)
        is_done = self._fs.write_nowait(handle, offset, content)
        return wire.written(request.unique, len(content)) if is_done else None

    def _flush(self, request: Request, body: memoryview) -> bytes | None:
        return wire.done(request.unique) if self._fs.flush_nowait(wire.parse_handle(body)) else None

    def _release(self, request: Request, body: memoryview) -> bytes | None:
        handle = wire.parse_handle(body)
        if not self._fs.release_nowait(handle):
            return None
        self._handles[handle] -= 1
        return wire.done(request.unique)
