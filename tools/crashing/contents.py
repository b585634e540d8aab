"""What is written: bytes that follow from a seed, of awkward sizes, and the word the book has for them."""

import hashlib
import random
import threading

from blobfs.model import CHUNK_SIZE, LEAF_SIZE

EDGES = (0, 1, LEAF_SIZE, LEAF_SIZE + 1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1)
LARGEST = 3 << 20


def word_of(content: bytes) -> str:
    """Says in a line what a content is."""
    return f"{len(content)} bytes {hashlib.sha256(content).hexdigest()[:24]}"


def draw_size(chance: random.Random) -> int:
    draw = chance.random()
    if draw < 0.15:
        return chance.choice(EDGES)
    if draw < 0.7:
        return chance.randrange(20_000)
    return chance.randrange(300_000 if draw < 0.97 else LARGEST)


class Contents:
    """Hands them out. Now and then the same one twice: names then share a blob."""

    AGAIN = 0.06

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._lock = threading.Lock()
        self._made: list[tuple[int, int]] = []

    def next(self, chance: random.Random) -> bytes:
        with self._lock:
            if self._made and chance.random() < self.AGAIN:
                serial, size = chance.choice(self._made[-20:])
            else:
                serial, size = len(self._made), draw_size(chance)
                self._made.append((serial, size))
        return random.Random(f"{self._seed}:{serial}").randbytes(size)
