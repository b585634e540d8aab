"""What each fault does to the right answer. One function a letter of `tests.servers.faults.KINDS`."""

import gzip
from collections.abc import Awaitable, Callable
from dataclasses import replace

import trio

from blobfs.model import CHUNK_SIZE
from tests.servers import scripted
from tests.servers.faults import Fault
from tests.servers.scripted import Connection, Reply, Request

DRIP_SECONDS = 0.1
ELSEWHERE = "http://elsewhere.invalid/"
MORE = bytes(65_536)
GARBAGE = b"SSH-2.0-OpenSSH_9.2\r\n\x00\xff" * 40

Answering = Callable[[Reply, Request, Connection, int], Awaitable[bool]]
"""The right reply, the request, where to send it, the fault's number; whether the connection is kept."""


async def answer(fault: Fault, right: Reply, request: Request, connection: Connection) -> bool:
    """Answers one request, with one fault."""
    return await _ANSWERS[fault.letter](right, request, connection, fault.number)


def _altered(alter: Callable[[Reply, Request, int], Reply], *, keep: bool = True) -> Answering:
    """A whole answer, but another one."""

    async def send(right: Reply, request: Request, connection: Connection, number: int) -> bool:
        await connection.send_reply(request, alter(right, request, number))
        return keep

    return send


def _status(code: int, headers: dict[str, str]) -> Reply:
    return Reply(code, {"Content-Length": "2", **headers}, b"no")


def _flip_one(right: Reply, request: Request, number: int) -> Reply:
    return replace(right, body=_flipped(right.body, [number % len(right.body)] if right.body else []))


def _flip_every(right: Reply, request: Request, number: int) -> Reply:
    first = first_byte(right)
    places = range(-first % (number * CHUNK_SIZE), len(right.body), number * CHUNK_SIZE)
    return replace(right, body=_flipped(right.body, places))


def _flipped(body: bytes, places: range | list[int]) -> bytes:
    wrong = bytearray(body)
    for place in places:
        wrong[place] ^= 0x10
    return bytes(wrong)


def first_byte(reply: Reply) -> int:
    """Of the file: where the body begins."""
    unit, _, span = reply.headers.get("Content-Range", "").partition(" ")
    return int(span.partition("-")[0]) if unit and reply.status == 206 else 0


def _longer(right: Reply, request: Request, number: int) -> Reply:
    body = right.body + MORE[:1] * number
    return Reply(right.status, {**right.headers, "Content-Length": str(len(body))}, body)


def _off(right: Reply, request: Request, number: int) -> Reply:
    if right.status != 206:
        return right
    first, total = first_byte(right) + number, right.headers["Content-Range"].partition("/")[2]
    span = f"bytes {first}-{first + len(right.body) - 1}/{total}"
    return replace(right, headers={**right.headers, "Content-Range": span})


def _zipped(right: Reply, request: Request, number: int) -> Reply:
    body = gzip.compress(right.body, 1)
    headers = {**right.headers, "Content-Encoding": "gzip", "Content-Length": str(len(body))}
    return replace(right, headers=headers, body=body)


async def _cut(right: Reply, request: Request, connection: Connection, number: int) -> bool:
    await _begin(right, request, connection, number)
    return False


async def _reset(right: Reply, request: Request, connection: Connection, number: int) -> bool:
    await _begin(right, request, connection, number)
    connection.reset()
    return False


async def _stall(right: Reply, request: Request, connection: Connection, number: int) -> bool:
    await _begin(right, request, connection, number)
    await connection.until_closed()
    return False


async def _begin(right: Reply, request: Request, connection: Connection, number: int) -> None:
    await connection.send_reply(request, replace(right, body=right.body[:number]))


async def _drip(right: Reply, request: Request, connection: Connection, number: int) -> bool:
    await connection.send_head(right.status, right.headers)
    for start in range(0, len(right.body) if request.method != "HEAD" else 0, number):
        await connection.send(right.body[start : start + number])
        await trio.sleep(DRIP_SECONDS)
    return True


async def _half_head(right: Reply, request: Request, connection: Connection, number: int) -> bool:
    await connection.send(f"HTTP/1.1 {right.status} Scri".encode())
    await connection.until_closed()
    return False


async def _extra(right: Reply, request: Request, connection: Connection, number: int) -> bool:
    await connection.send_reply(request, right)
    await connection.send(b"x" * number)
    return True


async def _endless(right: Reply, request: Request, connection: Connection, number: int) -> bool:
    headers = {key: value for key, value in right.headers.items() if key != "Content-Length"}
    await connection.send_head(right.status, {**headers, "Connection": "close"})
    await connection.send(right.body)
    while True:
        await connection.send(MORE)


def _plainly(behaviour: Callable[[Request, int], scripted.Behaviour]) -> Answering:
    """What the right answer plays no part in."""

    async def send(right: Reply, request: Request, connection: Connection, number: int) -> bool:
        return await behaviour(request, number)(request, connection)

    return send


_ANSWERS: dict[str, Answering] = {
    ".": _altered(lambda right, request, number: right),
    "a": _altered(lambda right, request, number: _status(404, {})),
    "b": _altered(lambda right, request, number: _status(429, {"Retry-After": str(number)})),
    "c": _cut,
    "d": _drip,
    "e": _altered(lambda right, request, number: _status(number, {})),
    "f": _altered(_flip_one),
    "g": _plainly(lambda request, number: scripted.raw(GARBAGE)),
    "h": _half_head,
    "i": _altered(_flip_every),
    "k": _altered(lambda right, request, number: right, keep=False),
    "l": _altered(_longer),
    "m": _plainly(lambda request, number: scripted.redirect(ELSEWHERE)),
    "n": _plainly(lambda request, number: scripted.closed()),
    "o": _plainly(lambda request, number: scripted.redirect(request.path)),
    "r": _reset,
    "s": _stall,
    "t": _plainly(lambda request, number: scripted.silent()),
    "u": _altered(lambda right, request, number: right),  # these two change what is answered, not how
    "v": _altered(lambda right, request, number: right),
    "w": _altered(_off),
    "x": _extra,
    "y": _endless,
    "z": _altered(_zipped),
}
