"""Bodies as they are read into the reader's memory, and the connections they leave behind.

What a server sends is written out here byte by byte, and cut where a test wants it to be cut.
"""

import pytest
import trio.testing

from blobfs.shares.body import ByteStream
from blobfs.shares.client import Share
from tests.servers.scripted import Behaviour, Connection, Request, ScriptedServer, ranged
from tests.shares.shared_names import BLOB, BLOB_PATH, BODY, attempt_of, opened, read

SIZE = len(BODY)
LENGTH = 1000
PART = BODY[:LENGTH]
STATUS = f"206 OK\r\nContent-Range: bytes 0-{LENGTH - 1}/{SIZE}\r\n".encode()
COUNTED = b"Content-Length: %d\r\n\r\n" % LENGTH
HEAD = b"HTTP/1.1 " + STATUS + COUNTED
CHUNKED = b"HTTP/1.1 " + STATUS + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNKS = b"12c;a=b\r\n%b\r\n2BC\r\n%b\r\n0\r\nX-Trailer: 1\r\n\r\n" % (PART[:300], PART[300:])
ARRIVED = 0.002
"""Seconds in which nothing moves: what was sent has been received."""
SETTLED = 5 * ARRIVED
"""All is sent, and the server has seen what the client closed."""
PATIENT = {"first_byte_timeout": 30.0, "idle_timeout": 30.0}
"""The packets are slow on purpose."""


def sending(*packets: bytes, stays: bool = True) -> Behaviour:
    """Each of these only when the one before it has arrived."""

    async def behave(request: Request, connection: Connection) -> bool:
        for packet in packets:
            await connection.send(packet)
            await trio.testing.wait_all_tasks_blocked(ARRIVED)
        return stays

    return behave


async def read_in_steps(body: ByteStream, memory: memoryview) -> bytes:
    got = bytearray()
    while count := await body.read_into(memory):
        got += memory[:count]
    return bytes(got)


async def ask(share: Share) -> bytes:
    return await read(share.blob(BLOB, SIZE, 0, LENGTH))


def cut(raw: bytes, *places: int) -> list[bytes]:
    return [raw[start:stop] for start, stop in zip((0, *places), (*places, len(raw)), strict=True)]


WIRES = {
    "in_one_packet": [HEAD + PART],
    "head_and_body": [HEAD, PART],
    "body_begun_with_its_head": cut(HEAD + PART, len(HEAD) + 1),
    "all_but_one_byte": cut(HEAD + PART, len(HEAD) + LENGTH - 1),
    "in_odd_pieces": cut(HEAD + PART, 3, 17, len(HEAD) - 2, len(HEAD) + 7, len(HEAD) + 13, len(HEAD) + 900),
    "told_to_go_on": [b"HTTP/1.1 100 Continue\r\n\r\n", HEAD + PART],
    "with_hints_first": [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + HEAD, PART],
    "in_chunks": [CHUNKED + CHUNKS],
    "in_chunks_in_odd_pieces": cut(CHUNKED + CHUNKS, len(CHUNKED) - 1, len(CHUNKED) + 2, len(CHUNKED) + 311),
    "in_chunks_whose_end_is_late": cut(CHUNKED + CHUNKS, len(CHUNKED + CHUNKS) - 2),
}


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("memory", [3, 700, 5000])
async def test_a_body_is_exact_however_it_comes(scripted: ScriptedServer, wire: str, memory: int) -> None:
    """Whatever the packets and whatever the reader's memory, and the connection serves the next request."""
    scripted.route(BLOB_PATH, sending(*WIRES[wire]))
    async with opened(scripted.url, **PATIENT) as share:
        for _ in range(2):
            async with share.blob(BLOB, SIZE, 0, LENGTH) as body:
                assert await read_in_steps(body, memoryview(bytearray(memory))) == PART
        assert share.statistics().received == 2 * LENGTH
        assert share.statistics().idle_connections == 1
    assert scripted.connections == 1


async def test_nothing_is_written_behind_what_came(scripted: ScriptedServer) -> None:
    """What is there is given at once, without waiting for the memory to be full; the rest is as it was."""
    scripted.route(BLOB_PATH, sending(HEAD + PART[:10], PART[10:25], PART[25:]))
    async with opened(scripted.url, **PATIENT) as share, share.blob(BLOB, SIZE, 0, LENGTH) as body:
        memory = bytearray(b"." * 2000)
        assert await body.read_into(memoryview(memory)) == 10
        assert await body.read_into(memoryview(memory)[10:]) == 15
        assert await body.read_into(memoryview(memory)[25:]) == LENGTH - 25
        assert memory == PART + b"." * (2000 - LENGTH)
        assert await body.read_into(memoryview(memory)[:0]) == 0


ENDED_BY_CLOSING = {
    "of_http_1_0": [b"HTTP/1.0 " + STATUS + b"\r\n" + PART],
    "of_http_1_0_in_pieces": [b"HTTP/1.0 " + STATUS + b"\r\n" + PART[:1], PART[1:700], PART[700:]],
    "of_http_1_1": [b"HTTP/1.1 " + STATUS + b"\r\n", PART],
}


@pytest.mark.parametrize("wire", ENDED_BY_CLOSING)
async def test_a_body_may_end_with_its_connection(scripted: ScriptedServer, wire: str) -> None:
    """Without a length the end of the connection is the end of the body; the next request has a new one."""
    scripted.route(BLOB_PATH, sending(*ENDED_BY_CLOSING[wire], stays=False))
    async with opened(scripted.url, **PATIENT) as share:
        assert [await ask(share) for _ in range(2)] == [PART, PART]
        assert (share.statistics().failures, share.statistics().idle_connections) == ({}, 0)
    assert scripted.connections == 2


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.0 " + STATUS + COUNTED,
        b"HTTP/1.0 " + STATUS + b"Connection: keep-alive\r\n" + COUNTED,
        b"HTTP/1.1 " + STATUS + b"Connection: close\r\n" + COUNTED,
    ],
)
async def test_a_server_that_wants_no_more_is_not_asked_more(scripted: ScriptedServer, head: bytes) -> None:
    """The connection is closed behind a whole body, though the server left it open."""
    scripted.route(BLOB_PATH, sending(head + PART))
    async with opened(scripted.url, **PATIENT) as share:
        assert await ask(share) == PART
        await trio.testing.wait_all_tasks_blocked(SETTLED)
        assert scripted.open == share.statistics().idle_connections == 0
        assert await ask(share) == PART
        assert share.statistics().failures == {}
    assert scripted.connections == 2


@pytest.mark.parametrize("more", [b"x", HEAD + b"z" * LENGTH])
@pytest.mark.parametrize("is_late", [False, True])
async def test_what_comes_behind_a_body_is_nobodys(
    scripted: ScriptedServer, more: bytes, is_late: bool
) -> None:
    """An answer that nobody asked for is not taken for the answer to the next request."""
    last = [HEAD + PART, more] if is_late else [HEAD + PART + more]
    scripted.route(BLOB_PATH, sending(*last), sending(HEAD + PART))
    async with opened(scripted.url, **PATIENT) as share:
        assert await ask(share) == PART
        await trio.testing.wait_all_tasks_blocked(SETTLED)
        assert await ask(share) == PART
        assert share.statistics().failures == {}
    assert scripted.connections == 2


async def test_a_head_with_a_body_that_must_not_be_there(scripted: ScriptedServer) -> None:
    """A server that answers HEAD with a body too has told the size; what follows is not read."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LENGTH
    scripted.route(BLOB_PATH, sending(answer + PART), sending(answer), sending(answer))
    async with opened(scripted.url, **PATIENT) as share:
        assert await share.blob_size(BLOB) == LENGTH
        assert share.statistics().idle_connections == 0
        assert [await share.blob_size(BLOB) for _ in range(2)] == [LENGTH, LENGTH]
        assert share.statistics().idle_connections == 1
    assert scripted.connections == 2


@pytest.mark.parametrize("wire", [[HEAD, PART[:999]], [HEAD + PART[:999]], [CHUNKED + CHUNKS[:-1]]])
async def test_a_body_that_was_not_read_to_its_end_ends_its_connection(
    scripted: ScriptedServer, wire: list[bytes]
) -> None:
    """One byte that is still to come would be the first one of the next answer."""
    scripted.route(BLOB_PATH, sending(*wire), ranged(BODY))
    async with opened(scripted.url, **PATIENT) as share:
        async with share.blob(BLOB, SIZE, 0, LENGTH) as body:
            left = 999
            while left:
                left -= await body.read_into(memoryview(bytearray(left)))
        await trio.testing.wait_all_tasks_blocked(SETTLED)
        assert (scripted.open, share.statistics().idle_connections) == (0, 0)
        assert await ask(share) == PART
    assert scripted.connections == 2


async def test_a_reader_that_is_cancelled_ends_its_connection(scripted: ScriptedServer) -> None:
    """What it had got is in its memory, and nobody else reads the rest."""
    scripted.route(BLOB_PATH, sending(HEAD + PART[:400], b""), ranged(BODY))
    memory = bytearray(LENGTH)
    async with opened(scripted.url, **PATIENT) as share:
        async with trio.open_nursery() as nursery:

            async def read_on() -> None:
                async with share.blob(BLOB, SIZE, 0, LENGTH) as body:
                    filled = 0
                    while got := await body.read_into(memoryview(memory)[filled:]):
                        filled += got

            nursery.start_soon(read_on)
            await trio.testing.wait_all_tasks_blocked(SETTLED)
            nursery.cancel_scope.cancel()
        assert memory == PART[:400] + bytes(LENGTH - 400)
        await trio.testing.wait_all_tasks_blocked(SETTLED)
        assert (scripted.open, share.statistics().idle_connections) == (0, 0)
        assert await ask(share) == PART


async def test_a_body_that_stops_is_stalled(scripted: ScriptedServer) -> None:
    """The time limit is for every piece, those that are received straight into memory too."""
    scripted.route(BLOB_PATH, sending(HEAD, PART[:3]))
    async with opened(scripted.url) as share:
        attempt = await attempt_of(ask(share))
    assert (attempt.detail, attempt.received) == ("stalled", 3)
