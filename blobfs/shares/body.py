"""The bytes of a stretch as they come in: exactly as many as were asked for, or a failure."""

from typing import Protocol

from blobfs.model import Kind
from blobfs.shares.answer import Answer
from blobfs.shares.answer_rules import content_length, encoding_complaint

MAX_LEADING_SPACE = 512
"""Bytes of white space in front of JSON that are put up with."""


class ByteStream(Protocol):
    """Bytes that are read into memory which the reader owns, uses again and again, and never shares."""

    async def read_into(self, memory: memoryview) -> int:
        """Waits for bytes, at least one, and says how many; 0 at the end, where `memory` may be empty."""


class ExactBody:
    """`length` bytes of an answer's body.

    Bytes that came before a failure have been given out already, so the caller can go on from there. `more`
    says that the body goes on behind them (a 200 to a request for a range): the rest is not read.
    """

    def __init__(self, answer: Answer, length: int, *, more: bool = False) -> None:
        self._answer = answer
        self._length = length
        self._left = length
        self._more = more

    async def read_into(self, memory: memoryview) -> int:
        """As `ByteStream.read_into`. Raises `ShareFailure`."""
        if self._left == 0:
            await self._finish()
            return 0
        got = await self._answer.read_into(memory[: self._left])
        if not got:
            there = self._length - self._left
            raise self._answer.failure(Kind.SHORT_BODY, f"short body: {there} of {self._length} bytes")
        self._left -= got
        return got

    async def _finish(self) -> None:
        """Reads the end of the body, which lets its connection be used again."""
        if not self._more and await self._answer.read_into(memoryview(bytearray(1))):
            raise self._answer.failure(Kind.LONG_BODY, "body longer than asked for")


class NoBody:
    """Nothing was asked for."""

    async def read_into(self, memory: memoryview) -> int:
        return 0


async def read_exactly(body: ByteStream, length: int) -> bytearray:
    """All of a short body, which has `length` bytes."""
    content = bytearray(length)
    memory, filled = memoryview(content), 0
    while got := await body.read_into(memory[filled:]):
        filled += got
    return content


async def read_json_text(answer: Answer, limit: int, what: str) -> bytes:
    """The whole body, of at most `limit` bytes, of something that begins as `read_json_start` says."""
    pieces = bytearray()
    piece = await read_json_start(answer)
    while piece:
        pieces += piece
        _refuse_size(answer, max(len(pieces), content_length(answer.headers) or 0), limit, what)
        piece = await answer.chunk()
    return bytes(pieces)


async def read_json_start(answer: Answer) -> bytes:
    """What comes first of something that begins with ``{``, as far as it takes to see that.

    What begins otherwise (a portal's page, an error page with status 200) is no share's answer at all.
    """
    answer.refuse(encoding_complaint(answer.headers))
    pieces, start = b"", b""
    while not start and len(pieces) < MAX_LEADING_SPACE and (piece := await answer.chunk()):
        pieces += piece
        start = pieces[:MAX_LEADING_SPACE].lstrip()
    if start[:1] != b"{":
        raise answer.failure(Kind.NOT_A_SHARE, "not a share's answer")
    return pieces


def _refuse_size(answer: Answer, size: int, limit: int, what: str) -> None:
    if size > limit:
        raise answer.failure(Kind.LONG_BODY, f"{what} larger than {limit} bytes")
