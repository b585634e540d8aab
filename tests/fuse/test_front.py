"""What stands between the kernel and pyfuse3. Both are played here."""

import errno
import os
import socket
import struct
from collections.abc import Iterator

import pyfuse3
import pytest
import trio
import trio.testing

from blobfs.fuse import wire
from blobfs.fuse.front import LARGE_AT_ONCE, Front
from blobfs.fuse.wire import Opcode, Request

LOOKUP = 1
MUCH = bytes(wire.COPIED + 1)


def request(opcode: int, unique: int, body: bytes = b"") -> bytes:
    return struct.pack("=IIQQIIII", 40 + len(body), opcode, unique, 1, 0, 0, 0, 0) + body


def answer_now(asked: Request, body: memoryview) -> wire.Answer | None:
    """READ and RELEASE are answered at once, OPEN of the even ones."""
    if asked.opcode == Opcode.READ:
        return wire.read(asked.unique, memoryview(MUCH))
    if asked.opcode == Opcode.RELEASE:
        return wire.done(asked.unique)
    return wire.opened(asked.unique, 1, 0) if asked.opcode == Opcode.OPEN and not asked.unique % 2 else None


async def write(handle: int, offset: int, content: bytes) -> int:
    await trio.lowlevel.checkpoint()
    if offset:
        raise pyfuse3.FUSEError(errno.EPERM)
    return len(content)


class Ends:
    """The kernel's end of the connection, and a front that has pyfuse3's."""

    def __init__(self) -> None:
        self.kernel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.kernel.setblocking(False)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
        self.descriptor = theirs.detach()
        self.front = Front(answer_now, write)
        self.front.begin(self.descriptor)

    def ask(self, *requests: bytes) -> None:
        for each in requests:
            self.kernel.send(each)

    async def wait(self) -> bool:
        found: bool = await pyfuse3._wait_fuse_readable()  # type: ignore[attr-defined]
        return found

    def taken_up(self) -> bytes:
        """As pyfuse3 does it, without an await after the wait."""
        return os.read(self.descriptor, wire.MAX_REQUEST)

    def answers(self) -> list[bytes]:
        found = []
        while True:
            try:
                found.append(self.kernel.recv(wire.MAX_REQUEST))
            except BlockingIOError:
                return found


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ends]:
    async def untouched() -> bool:
        return True

    monkeypatch.setattr(pyfuse3, "_wait_fuse_readable", untouched)
    made = Ends()
    yield made
    made.front.end()
    os.close(made.descriptor)
    assert made.kernel.recv(1) == b"", "the connection must end with pyfuse3's descriptor"
    assert pyfuse3._wait_fuse_readable is untouched  # type: ignore[attr-defined]
    made.kernel.close()


async def test_what_can_be_answered_at_once_never_reaches_pyfuse3(ends: Ends) -> None:
    """It gets the first request that cannot; what stands behind that is left for the next who reads."""
    hard = request(LOOKUP, 5, b"name\0")
    ends.ask(request(14, 2), request(18, 4), hard, request(18, 6))
    assert await ends.wait()
    assert ends.answers() == [wire.opened(2, 1, 0), wire.done(4)]
    assert ends.taken_up() == hard
    ends.front.taken()
    os.write(ends.descriptor, wire.done(5))  # straight to the kernel
    assert ends.answers() == [wire.done(5)]
    ends.ask(request(LOOKUP, 7))
    assert await ends.wait()
    assert ends.answers() == [wire.done(6)]
    assert ends.taken_up() == request(LOOKUP, 7)


async def test_large_answers_are_sent_whole_and_let_others_go_on(ends: Ends) -> None:
    """In one message each; after some of them the other tasks of the loop have their turn."""
    numbers = range(2, 3 * LARGE_AT_ONCE + 2)
    ends.ask(*(request(Opcode.READ, number) for number in numbers))
    found: list[bytes] = []
    most = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends.wait)
        while len(found) < len(numbers):
            await trio.lowlevel.checkpoint()
            now = ends.answers()
            found += now
            most = max(most, len(now))
        ends.ask(request(LOOKUP, 1))
    assert found == [struct.pack("=IiQ", 16 + len(MUCH), 0, number) + MUCH for number in numbers]
    assert most <= 2 * LARGE_AT_ONCE  # two turns may stand side by side


async def test_one_task_reads_and_others_end(ends: Ends) -> None:
    """pyfuse3 begins one for each request, so there is one more than there are operations."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends.wait)
        await trio.testing.wait_all_tasks_blocked()
        assert not await ends.wait()
        ends.ask(request(LOOKUP, 1))


async def test_a_cancelled_reader_lets_another_one_read(ends: Ends) -> None:
    """Nobody else would."""
    with trio.move_on_after(0):
        await ends.wait()
    ends.ask(request(LOOKUP, 1))
    assert await ends.wait()


async def test_answers_without_an_operation_are_passed_on(ends: Ends) -> None:
    """libfuse answers INIT and refuses what it does not know by itself; only INIT's is completed."""
    init = struct.pack("=IiQIIII", 32, 0, 1, 7, 38, 131072, 0)
    ends.ask(request(Opcode.INIT, 1))
    assert await ends.wait()
    ends.taken_up()
    os.write(ends.descriptor, init)
    assert ends.answers() == []
    ends.ask(request(46, 3))
    assert await ends.wait()
    assert ends.answers() == [wire.completed_init(init)]
    ends.taken_up()
    os.write(ends.descriptor, wire.failure(3, errno.ENOSYS))
    ends.ask(request(LOOKUP, 5))
    assert await ends.wait()
    assert ends.answers() == [wire.failure(3, errno.ENOSYS)]


async def test_an_answer_is_completed_and_notices_are_not(ends: Ends) -> None:
    """Another thread may tell the kernel something meanwhile; the order stays."""
    notice, opened = struct.pack("=IiQ", 16, 9, 0), wire.opened(9, 1, 0)
    ends.front.complete_next(wire.without_flush)
    os.write(ends.descriptor, notice)
    os.write(ends.descriptor, opened)
    ends.ask(request(LOOKUP, 5))
    assert await ends.wait()
    assert ends.answers() == [notice, wire.without_flush(opened)]


async def test_writes_are_answered_by_tasks(ends: Ends) -> None:
    """However large; a refusal has its errno. An INTERRUPT has no answer."""
    body = struct.pack("=QQIIQII", 1, 0, 1 << 16, 0, 0, 0, 0) + bytes(1 << 16)
    refused = struct.pack("=QQIIQII", 1, 1, 1, 0, 0, 0, 0) + b"x"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends.wait)
        ends.ask(request(16, 2, body), request(36, 3), request(16, 4, refused))
        await trio.testing.wait_all_tasks_blocked()
        assert set(ends.answers()) == {wire.written(2, 1 << 16), wire.failure(4, errno.EPERM)}
        nursery.cancel_scope.cancel()


async def test_the_end_of_the_connection_ends_the_loop(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was taken back before it was read is waited over."""
    outcomes = [errno.ENOENT, errno.EAGAIN, errno.ENODEV]

    def readv(descriptor: int, buffers: list[bytearray]) -> int:
        number = outcomes.pop(0)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "readv", readv)
    ends.kernel.shutdown(socket.SHUT_WR)
    assert not await ends.wait()
    assert outcomes == []


async def test_nobody_who_takes_an_answer(ends: Ends) -> None:
    """A caller that was killed, or a mount that has ended, is no reason to fail."""
    ends.ask(request(18, 2))
    ends.kernel.shutdown(socket.SHUT_RD)
    ends.ask(request(LOOKUP, 3))
    assert await ends.wait()
    assert ends.taken_up() == request(LOOKUP, 3)


def test_another_pyfuse3_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It works as it would, and the log says what that means."""
    monkeypatch.delattr(pyfuse3, "_wait_fuse_readable")
    front = Front(answer_now, write)
    front.begin(-1)
    front.complete_next(wire.without_flush)
    front.taken()
    front.end()
    assert "holds up its whole directory" in caplog.text
