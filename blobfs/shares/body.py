"""The bytes of a stretch as they come in: exactly as many as were asked for, or a failure."""

from collections.abc import AsyncIterator

from blobfs.model import Kind
from blobfs.shares.answer import Answer
from blobfs.shares.answer_rules import content_length, encoding_complaint

MAX_LEADING_SPACE = 512
"""Bytes of white space in front of JSON that are put up with."""


class ExactBody(AsyncIterator[bytes]):
    """Iterates over `length` bytes of an answer's body.

    Bytes that came before a failure have been given out already, so the caller can go on from there. `more`
    says that the body goes on behind them (a 200 to a request for a range): the rest is not read.
    """

    def __init__(self, answer: Answer, length: int, *, more: bool = False) -> None:
        self._answer = answer
        self._length = length
        self._left = length
        self._more = more
        self._surplus = False

    def __aiter__(self) -> "ExactBody":
        return self

    async def __anext__(self) -> bytes:
        if self._left == 0:
            await self._finish()
            raise StopAsyncIteration
        piece = await self._answer.chunk()
        if not piece:
            got = self._length - self._left
            raise self._answer.failure(Kind.SHORT_BODY, f"short body: {got} of {self._length} bytes")
        self._surplus = len(piece) > self._left
        piece = piece[: self._left]
        self._left -= len(piece)
        return piece

    async def _finish(self) -> None:
        """Reads the end of the body, which lets its connection be used again."""
        if not self._more and (self._surplus or await self._answer.chunk()):
            raise self._answer.failure(Kind.LONG_BODY, "body longer than asked for")


class NoBody(AsyncIterator[bytes]):
    """Nothing was asked for."""

    def __aiter__(self) -> "NoBody":
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration


async def read_rest(answer: Answer, limit: int, what: str) -> bytes:
    """The whole body, of at most `limit` bytes; a larger one fails, and not read on."""
    pieces = bytearray()
    while piece := await answer.chunk():
        pieces += piece
        _refuse_size(answer, len(pieces), limit, what)
    return bytes(pieces)


async def read_json_text(answer: Answer, limit: int, what: str) -> bytes:
    """As `read_rest`, of something that begins with ``{``.

    What begins otherwise (a portal's page, an error page with status 200) is no share's answer at all.
    """
    answer.refuse(encoding_complaint(answer.headers))
    pieces = bytearray()
    start = b""
    while piece := await answer.chunk():
        pieces += piece
        start = bytes(pieces[:MAX_LEADING_SPACE]).lstrip()
        if start[:1] != b"{" and (start or len(pieces) >= MAX_LEADING_SPACE):
            break
        _refuse_size(answer, max(len(pieces), content_length(answer.headers) or 0), limit, what)
    if start[:1] != b"{":
        raise answer.failure(Kind.NOT_A_SHARE, "not a share's answer")
    return bytes(pieces)


def _refuse_size(answer: Answer, size: int, limit: int, what: str) -> None:
    if size > limit:
        raise answer.failure(Kind.LONG_BODY, f"{what} larger than {limit} bytes")
