"""One way or more to produce each kind of failure that an answer can have.

Each is the answer to the question for `LENGTH` bytes from `OFFSET` of the blob.
"""

import gzip
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import trio

from blobfs.model import Kind
from tests.servers.scripted import (
    Behaviour,
    Connection,
    Request,
    broken_off,
    chunked,
    closed,
    endless,
    ok,
    partial,
    raw,
    redirect,
    reset,
    silent,
    stalled,
    status,
)
from tests.shares.shared_names import BLOB_PATH, BODY

SIZE = len(BODY)
OFFSET, LENGTH = 1000, 1000
PART = BODY[OFFSET : OFFSET + LENGTH]
CONTENT_RANGE = f"bytes {OFFSET}-{OFFSET + LENGTH - 1}/{SIZE}"
RANGE: dict[str, Any] = {"code": 206, "Content_Range": CONTENT_RANGE}
DRIP_SECONDS = 0.005
"""Between two drips: far below the time limits of the tests' shares."""


@dataclass(frozen=True)
class Misbehaviour:
    name: str
    kind: Kind
    behave: Behaviour
    received: int | None = 0
    """Bytes of the part that are given out first; None: some."""


def dripping(start: bytes, drop: bytes) -> Behaviour:
    """Sends the start, and then a drop now and then, for ever."""

    async def behave(request: Request, connection: Connection) -> bool:
        await connection.send(start)
        while True:
            await trio.sleep(DRIP_SECONDS)
            await connection.send(drop)

    return behave


def closing(headers: bytes, body: bytes) -> Behaviour:
    """206 as the headers say, the body, the end."""
    return raw(b"HTTP/1.1 206 OK\r\nContent-Range: %b\r\n" % CONTENT_RANGE.encode() + headers + body)


def _of(kind: Kind, **behaviours: Behaviour) -> Iterable[Misbehaviour]:
    return [Misbehaviour(name, kind, behave) for name, behave in behaviours.items()]


_CHUNK = b"190\r\n" + PART[:400] + b"\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
_HEAD = b"HTTP/1.1 206 OK\r\nContent-Range: %b\r\n" % CONTENT_RANGE.encode()

MISBEHAVIOURS: tuple[Misbehaviour, ...] = (
    *_of(Kind.CLOSED, closed=closed(), closed_in_its_head=raw(b"HTTP/1.1 206 OK\r\nContent-")),
    *_of(
        Kind.NO_ANSWER,
        silent=silent(),
        dripping_head=dripping(b"HTTP/1.1 206 OK\r\nX: ", b"y"),
        always_about_to_go_on=dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ),
    Misbehaviour("stalled_at_once", Kind.STALLED, stalled(b"", LENGTH, **RANGE)),
    Misbehaviour("stalled", Kind.STALLED, stalled(PART[:400], LENGTH, **RANGE), 400),
    Misbehaviour(
        "dripping_between_chunks", Kind.STALLED, dripping(_HEAD + _CHUNKED + _CHUNK + b"1;", b"x"), 400
    ),
    *_of(Kind.RESET, reset=reset()),
    Misbehaviour(
        "reset_in_its_body", Kind.RESET, broken_off(PART[:400], LENGTH, by_reset=True, **RANGE), None
    ),
    Misbehaviour("broken_off", Kind.SHORT_BODY, broken_off(PART[:400], LENGTH, **RANGE), 400),
    Misbehaviour("without_a_length", Kind.SHORT_BODY, closing(b"\r\n", PART[:400]), 400),
    Misbehaviour("too_few_chunks", Kind.SHORT_BODY, chunked(PART[:400], **RANGE), 400),
    Misbehaviour("half_a_chunk", Kind.SHORT_BODY, closing(_CHUNKED, _CHUNK[:-100]), None),
    Misbehaviour("too_many_chunks", Kind.LONG_BODY, chunked(PART + b"x", **RANGE), LENGTH),
    Misbehaviour("endless", Kind.LONG_BODY, endless(PART, BODY, **RANGE), LENGTH),
    *_of(
        Kind.WRONG_RANGE,
        other_range=partial(PART, f"bytes 0-{LENGTH - 1}/{SIZE}"),
        shorter_range=partial(PART[:500], f"bytes {OFFSET}-{OFFSET + 499}/{SIZE}"),
        no_range=partial(PART, ""),
        other_length=partial(PART[:500], CONTENT_RANGE),
        not_satisfiable=status(416),
    ),
    *_of(
        Kind.WRONG_SIZE,
        other_size=partial(PART, f"bytes {OFFSET}-{OFFSET + LENGTH - 1}/{SIZE + 1}"),
        other_whole=ok(BODY[:-1]),
    ),
    *_of(Kind.NO_RANGES, no_ranges=ok(BODY), no_ranges_in_chunks=chunked(BODY)),
    *_of(
        Kind.ENCODED,
        gzip=partial(gzip.compress(PART), CONTENT_RANGE, Content_Encoding="gzip"),
        gzip_whole=ok(gzip.compress(BODY), Content_Encoding="gzip"),
    ),
    *_of(
        Kind.NOT_HTTP,
        not_http=raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        endless_head=raw(b"HTTP/1.1 206 OK\r\nX: " + b"y" * 300_000),
        no_chunks=closing(_CHUNKED, b"zz\r\n"),
        two_lengths=closing(b"Content-Length: 999\r\nContent-Length: 1000\r\n\r\n", PART),
        length_of_many_digits=closing(b"Content-Length: " + b"1" * 5000 + b"\r\n\r\n", PART),
        other_protocol=raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
    ),
    *_of(Kind.NOT_A_SHARE, portal=ok(b"<html>log in</html>", Content_Type="text/html")),
    *_of(Kind.ABSENT, absent=status(404), gone=status(410)),
    *_of(Kind.REFUSED, no_password=status(401), forbidden=status(403)),
    *_of(
        Kind.BUSY,
        slow_request=status(408),
        too_early=status(425),
        too_many=status(429, Retry_After="7"),
        unavailable=status(503, Retry_After="7"),
    ),
    *_of(Kind.SERVER_ERROR, broken=status(500), bad_gateway=status(502, b"x" * 100_000)),
    *_of(Kind.BAD_STATUS, bad_request=status(400), no_content=status(204, b"")),
    *_of(
        Kind.REDIRECTED,
        elsewhere=redirect("http://127.0.0.2:1/"),
        round_in_a_ring=redirect(BLOB_PATH),
        to_no_url=redirect("http://[::zz]/"),
        without_a_location=status(301),
    ),
)
