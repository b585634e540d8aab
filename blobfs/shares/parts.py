"""What a node has of blobs that it is loading: how its share server's process learns of it.

The server asks its daemon for each request, over a socket pair, and gets a descriptor with the answer: the
file that the bytes are in, if all of them are here and verified, or the map of what is. So nothing that the
server knows can be outdated, a load that ends meanwhile leaves the bytes behind the descriptor as they were,
and each of the two may die and come back. One question and one answer a packet::

    question   <Q serial, 64s blob id, Q first byte, Q stop>      stop 0: the map
    answer     <Q serial, Q size of the blob>                     size 0: not here; else one descriptor
"""

import itertools
import logging
import os
import socket
import struct
from dataclasses import dataclass, field
from typing import Protocol

import trio

from blobfs.chunks import pack_map
from blobfs.model import CHUNK_SIZE, BlobId

_log = logging.getLogger(__name__)

PARTS_HEADER = "blobfs-parts"
"""In every answer of a server that can be asked which parts of a blob it has."""

ASK_SECONDS = 1.0
"""For the daemon's answer; without one the server has what is whole, as any other has."""

_QUESTION = struct.Struct("<Q64sQQ")
_ANSWER = struct.Struct("<QQ")


class Part(Protocol):
    """A blob that is not whole here (`blobfs.store.partial.Partial`)."""

    size: int
    fd: int
    """-1: it is closed."""

    def all_present(self, first: int, count: int) -> bool: ...

    def present_bits(self) -> bytes: ...


class Parts(Protocol):
    """Where the daemon finds them (`blobfs.sync.loading.loads.Loads`)."""

    def part_of(self, blob: BlobId) -> Part | None: ...


@dataclass(frozen=True, slots=True)
class Found:
    """`descriptor` is the finder's to close."""

    size: int
    descriptor: int


@dataclass(eq=False)
class _Pending:
    found: Found | None = None
    told: trio.Event = field(default_factory=trio.Event)


class PartsOfDaemon:
    """The server's end. Mutable: `_pending`, the questions that are not answered yet."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._pending: dict[int, _Pending] = {}
        self._serials = itertools.count()

    async def run(self) -> None:
        """Takes the answers, until the daemon is gone."""
        while True:
            await trio.lowlevel.wait_readable(self._connection)
            try:
                packet, descriptors, _, _ = socket.recv_fds(self._connection, _ANSWER.size, 1)
            except BlockingIOError:
                continue
            except OSError as error:
                _log.debug("the daemon answers no more: %s", error)
                return
            if len(packet) != _ANSWER.size:
                return
            serial, size = _ANSWER.unpack(packet)
            pending = self._pending.get(serial)
            if pending is None:  # nobody waits for it any more
                for descriptor in descriptors:
                    os.close(descriptor)
                continue
            if descriptors:
                pending.found = Found(size, descriptors[0])
            pending.told.set()

    async def content(self, blob: str, start: int, stop: int) -> Found | None:
        """The file that these bytes are in, if all of them are here."""
        return await self._ask(blob, start, stop)

    async def map(self, blob: str) -> Found | None:
        """The map of what is here."""
        return await self._ask(blob, 0, 0)

    async def _ask(self, blob: str, start: int, stop: int) -> Found | None:
        serial, pending = next(self._serials), _Pending()
        self._pending[serial] = pending
        try:
            with trio.move_on_after(ASK_SECONDS):
                self._connection.send(_QUESTION.pack(serial, blob.encode("ascii"), start, stop))
                await pending.told.wait()
        except OSError as error:
            _log.debug("the daemon cannot be asked: %s", error)
        except BaseException:
            if pending.found is not None:
                os.close(pending.found.descriptor)
            raise
        finally:
            del self._pending[serial]
        return pending.found


async def answer_questions(connection: socket.socket, parts: Parts) -> None:
    """The daemon's end, until the server is gone. An answer that the server does not take is dropped."""
    connection.setblocking(False)
    while True:
        await trio.lowlevel.wait_readable(connection)
        try:
            packet = connection.recv(_QUESTION.size)
        except BlockingIOError:
            continue
        except OSError as error:
            _log.debug("the share server asks no more: %s", error)
            return
        if len(packet) != _QUESTION.size:
            return
        serial, blob, start, stop = _QUESTION.unpack(packet)
        try:
            _answer(connection, serial, parts.part_of(BlobId(blob.decode("ascii"))), start, stop)
        except OSError as error:
            _log.debug("the share server is not told of %s: %s", blob.decode("ascii"), error)


def _answer(connection: socket.socket, serial: int, part: Part | None, start: int, stop: int) -> None:
    if part is None or part.fd < 0:
        connection.send(_ANSWER.pack(serial, 0))
    elif not stop:
        descriptor = os.memfd_create("map", os.MFD_CLOEXEC)
        try:
            os.pwrite(descriptor, pack_map(part.size, part.present_bits()), 0)
            socket.send_fds(connection, [_ANSWER.pack(serial, part.size)], [descriptor])
        finally:
            os.close(descriptor)
    elif start < part.size and _has(part, start, min(stop, part.size)):
        socket.send_fds(connection, [_ANSWER.pack(serial, part.size)], [part.fd])
    else:
        connection.send(_ANSWER.pack(serial, 0))


def _has(part: Part, start: int, stop: int) -> bool:
    first = start // CHUNK_SIZE
    return part.all_present(first, -(-stop // CHUNK_SIZE) - first)
