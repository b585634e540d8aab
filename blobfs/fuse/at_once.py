"""Operations that the file system answers without waiting, from the request's bytes to the answer's.

What it cannot answer so, or what fails, is asked for again as any other operation is (`adapter`): it is
refused there, and what is wrong is told there. Each answer is counted as an operation.
"""

import logging
from collections import Counter
from collections.abc import Callable

import trio

from blobfs.fuse import wire
from blobfs.fuse.counts import OperationCounts
from blobfs.fuse.interface import FileSystem
from blobfs.fuse.wire import Opcode, Request
from blobfs.vfs.attributes import Opened

_log = logging.getLogger(__name__)


def open_flags(opened: Opened) -> int:
    return (
        (wire.FOPEN_KEEP_CACHE if opened.keep_cache else 0)
        | (wire.FOPEN_DIRECT_IO if opened.direct_io else 0)
        | (0 if opened.needs_flush else wire.FOPEN_NOFLUSH)
    )


class AtOnce:
    """Of one mount. Mutable: the counters, and the handles that are given out; the adapter has the same."""

    def __init__(self, fs: FileSystem, counts: OperationCounts, handles: Counter[int]) -> None:
        self._fs = fs
        self._counts = counts
        self._handles = handles
        self._answers: dict[int, tuple[str, Callable[[Request, memoryview], bytes | None]]] = {
            Opcode.OPEN: ("open", self._open),
            Opcode.READ: ("read", self._read),
            Opcode.RELEASE: ("release", self._release),
        }

    def answer(self, request: Request, body: memoryview) -> bytes | None:
        """None: ask the operation itself. `body` is what comes after the header, and is reused."""
        name, answer = self._answers.get(request.opcode, ("", None))
        if answer is None:
            return None
        begun = trio.current_time()
        try:
            found = answer(request, body)
        except Exception as error:
            _log.debug("%s: asked for again: %s", name, error)
            return None
        if found is not None:
            self._counts.asked[name] += 1
            self._counts.took[name].add(trio.current_time() - begun)
        return found

    def _open(self, request: Request, body: memoryview) -> bytes | None:
        opened = self._fs.open_nowait(request.inode, wire.parse_open(body), request.pid)
        if opened is None:
            return None
        self._handles[opened.handle] += 1
        return wire.opened(request.unique, opened.handle, open_flags(opened))

    def _read(self, request: Request, body: memoryview) -> bytes | None:
        content = self._fs.read_nowait(*wire.parse_read(body))
        return None if content is None else wire.read(request.unique, content)

    def _release(self, request: Request, body: memoryview) -> bytes | None:
        handle = wire.parse_release(body)
        if not self._fs.release_nowait(handle):
            return None
        self._handles[handle] -= 1
        return wire.done(request.unique)
