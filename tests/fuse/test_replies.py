"""Answers that are completed on their way to the kernel."""

import os
import socket
import struct
from collections.abc import Iterator

import pyfuse3
import pytest

from blobfs.fuse.replies import (
    FOPEN_NOFLUSH,
    FUSE_HANDLE_KILLPRIV_V2,
    FUSE_PARALLEL_DIROPS,
    Replies,
    completed_init,
    without_flush,
)
from blobfs.fuse.tuning import READ_AHEAD_KIB

HEADER = struct.Struct("=IiQ")


def test_flags_are_added_the_read_ahead_raised_and_nothing_else_changed() -> None:
    """fuse_init_out: major, minor, max_readahead, flags, and what follows."""
    body = struct.pack("=IIII", 7, 38, 131072, 0x4040B029) + bytes(range(48))
    reply = HEADER.pack(HEADER.size + len(body), 0, 1) + body
    found = completed_init(reply)
    assert len(found) == len(reply)
    assert struct.unpack_from("=IIII", found, HEADER.size) == (
        7,
        38,
        READ_AHEAD_KIB * 1024,
        0x4040B029 | FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV_V2,
    )
    assert found[: HEADER.size + 8] == reply[: HEADER.size + 8]
    assert found[HEADER.size + 16 :] == reply[HEADER.size + 16 :]


KEEP_CACHE = 1 << 1
OPENED = HEADER.pack(32, 0, 7) + struct.pack("=QII", 5, KEEP_CACHE, 0)


def test_a_file_opened_without_flush() -> None:
    """fuse_open_out: the handle, the flags, and what follows."""
    assert without_flush(OPENED) == HEADER.pack(32, 0, 7) + struct.pack(
        "=QII", 5, KEEP_CACHE | FOPEN_NOFLUSH, 0
    )


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Its end of the connection, and pyfuse3's, whose loop does nothing."""

    async def idle(*args: object) -> bool:
        return True

    monkeypatch.setattr(pyfuse3, "_wait_fuse_readable", idle)
    monkeypatch.setattr(pyfuse3, "_session_loop", idle)
    theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)
    with theirs, ours:
        yield theirs, ours


@pytest.mark.parametrize("step", ["_wait_fuse_readable", "_session_loop"])
async def test_only_the_next_answer_is_completed(
    kernel: tuple[socket.socket, socket.socket], step: str
) -> None:
    """Also if the loop ends after it; errors and notices of other threads are passed on as they are."""
    end, descriptor = kernel[0], kernel[1].fileno()
    replies = Replies()
    replies.begin(descriptor)
    notice, failure = HEADER.pack(16, 9, 0), HEADER.pack(16, -2, 9)
    for messages, expected in (
        ([notice, OPENED], [notice, without_flush(OPENED)]),
        ([failure], [failure]),
    ):
        replies.complete_next(without_flush)
        for message in messages:
            os.write(descriptor, message)
        with pytest.raises(BlockingIOError):
            end.recv(100)
        assert await getattr(pyfuse3, step)() in (True, None)
        assert [end.recv(100) for _ in expected] == expected
    os.write(descriptor, OPENED)
    assert end.recv(100) == OPENED
    replies.end()


async def test_nothing_is_left_of_it(kernel: tuple[socket.socket, socket.socket]) -> None:
    """The connection ends when pyfuse3 closes it: no other descriptor of it stays open."""
    wait = pyfuse3._wait_fuse_readable  # type: ignore[attr-defined]
    replies = Replies()
    replies.begin(kernel[1].fileno())
    replies.end()
    kernel[1].close()
    assert kernel[0].recv(1) == b""
    assert pyfuse3._wait_fuse_readable is wait  # type: ignore[attr-defined]
    replies.complete_next(without_flush)  # which has nothing to complete now


def test_another_pyfuse3_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It works as it would, and the log says what that means."""
    monkeypatch.delattr(pyfuse3, "_wait_fuse_readable")
    replies = Replies()
    replies.begin(-1)
    replies.complete_next(without_flush)
    replies.end()
    assert "holds up its whole directory" in caplog.text
