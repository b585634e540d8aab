"""The share server and its daemon ask each other, whichever of them goes first."""

import socket

import trio

from blobfs.model import BlobId
from blobfs.shares.parts import Part, PartsOfDaemon, answer_questions

BLOB = "0" * 64


class Nothing:
    """A daemon that loads nothing."""

    def part_of(self, blob: BlobId) -> Part | None:
        return None


async def test_the_server_outlives_its_daemon() -> None:
    """It has nothing to tell then, without a traceback."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        asking = PartsOfDaemon(its)
        its.send(b"a question that nobody reads")
        ours.close()  # with something unread, as when it is killed: that is an error here
        with trio.fail_after(5):
            await asking.run()
            assert await asking.map(BLOB) is None


async def test_the_daemon_outlives_its_server() -> None:
    """It goes on, and answers the next one."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        ours.send(b"an answer that nobody reads")
        its.close()
        with trio.fail_after(5):
            await answer_questions(ours, Nothing())
