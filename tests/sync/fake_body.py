"""The body of a fake share's answer: in pieces, down a line of a certain speed, with an interruption.

Time is trio's. All bodies of one share go down its one `Line`.
"""

import math
from collections.abc import Awaitable, Callable

import trio


class Line:
    """What a share's bytes go through, one after the other. Mutable: `rate`, by the tests; `_free`."""

    def __init__(self) -> None:
        self.rate = math.inf
        """Bytes a second, of all bodies together."""
        self._free = -math.inf

    async def send(self, length: int) -> None:
        if math.isfinite(self.rate):
            self._free = max(self._free, trio.current_time()) + length / self.rate
            await trio.sleep_until(self._free)


class Bursts:
    """What a limit lets through of one body: `burst` bytes at once, and no more until the second is over."""

    def __init__(self, burst: float) -> None:
        self._burst = burst
        self._begun = trio.current_time()
        self._sent = 0

    async def send(self, length: int) -> None:
        if self._sent >= self._burst:
            await trio.sleep_until(self._begun + self._sent // self._burst)
        self._sent += length


def spoilt(content: bytes) -> bytes:
    """One bit in its middle is another."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


class Pieces:
    """`content`, a piece at a time; `before_piece` and `interrupt` are the share's."""

    def __init__(
        self,
        content: bytes,
        piece: int,
        before_piece: Callable[[int], Awaitable[None]],
        stop: int | None,
        interrupt: Callable[[], Awaitable[None]],
    ) -> None:
        self._content = content
        self._at = 0
        self._piece = piece
        self._before_piece = before_piece
        self._stop = stop
        """Where `interrupt` is awaited, once: it raises, hangs or lets the body go on."""
        self._interrupt = interrupt

    async def read_into(self, memory: memoryview) -> int:
        await trio.lowlevel.checkpoint()
        if self._stop is not None and self._at >= self._stop:
            self._stop = None
            await self._interrupt()
        end = self._at + min(self._piece, len(memory))
        piece = self._content[self._at : end if self._stop is None else min(end, self._stop)]
        if piece:
            await self._before_piece(len(piece))
        memory[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)
