"""One load: what is read of which blob, how, and what is done to the reader. Pure: seed and number decide."""

import random
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from blobfs.model import CHUNK_SIZE
from tests.faults.source import Entry

WITHOUT_NUMBER = -1
MOST = 1 << 20
"""Bytes of one load in all but a few: the campaign is about many."""
BLOCKS = (1, 100, 4096, 65_536, CHUNK_SIZE, CHUNK_SIZE + 1, 1 << 20)
FEWEST_BLOCKS = 64
"""The most blocks one load takes; a smaller block is made bigger."""
BY_ID = 0.25
SIGNALLED = 0.03
NONBLOCKING = 0.08
WHOLE_FILE_PROGRAMS_UP_TO = 3 * CHUNK_SIZE


class How(StrEnum):
    READ = "read"
    PREAD = "pread"
    """Blocks in any order."""
    MMAP = "mmap"
    CP = "cp"
    CAT = "cat"


@dataclass(frozen=True, slots=True)
class Order:
    """What one reader is to do."""

    number: int
    path: str
    """Below the mountpoint."""
    blob: str
    size: int
    how: How
    offset: int
    length: int
    block: int
    nonblock: bool = False
    signal: int = 0
    signal_after: float = 0.0
    """Seconds; a reader that is done by then gets none."""

    @property
    def by_id(self) -> bool:
        return self.path.startswith(".blobfs/")

    @property
    def lookups(self) -> int:
        """Components of a path that may have to be asked for."""
        return self.path.count("/") + 1


class Orders:
    """The orders of a campaign by their numbers. In a block of them each blob is loaded once, or nearly."""

    def __init__(self, seed: int, entries: Sequence[Entry], block: int) -> None:
        self.seed = seed
        self.entries = list(entries)
        self._block = block

    def order(self, number: int, *, calm: bool = False) -> Order:
        block, place = divmod(number, self._block)
        return plan_order(self.seed, number, self._shuffled(block)[place % len(self.entries)], calm=calm)

    def biggest(self, count: int) -> list[Order]:
        """Those blobs from end to end, in big blocks."""
        by_size = sorted(self.entries, key=lambda entry: entry.size, reverse=True)
        return [whole(entry) for entry in by_size[:count]]

    @cache  # noqa: B019 (there is one of it)
    def _shuffled(self, block: int) -> list[Entry]:
        return random.Random(f"{self.seed}:block:{block}").sample(self.entries, len(self.entries))


def whole(entry: Entry) -> Order:
    """A blob by its id, from end to end."""
    path = f".blobfs/blobs/{entry.blob}"
    return Order(WITHOUT_NUMBER, path, entry.blob, entry.size, How.READ, 0, entry.size, MOST)


def plan_order(seed: int, number: int, entry: Entry, *, calm: bool = False) -> Order:
    """`calm`: without signals and O_NONBLOCK, for loads that must succeed."""
    chance = random.Random(f"{seed}:order:{number}")
    path = f".blobfs/blobs/{entry.blob}" if chance.random() < BY_ID else entry.name
    how = chance.choice((How.READ, How.READ, How.PREAD, How.PREAD, How.MMAP, How.CP, How.CAT))
    if how in (How.CP, How.CAT) and (entry.size > WHOLE_FILE_PROGRAMS_UP_TO or chance.random() < 0.6):
        how = How.READ
    if how is How.MMAP and not entry.size:
        how = How.PREAD
    if how in (How.CP, How.CAT) or chance.random() < 0.6:
        offset, length = 0, entry.size
    else:
        offset = chance.randrange(entry.size + 2)
        length = chance.randrange(entry.size + 2)
    if chance.random() < 0.9:
        length = min(length, MOST)
    block = max(chance.choice(BLOCKS), length // FEWEST_BLOCKS + 1)
    signalled, nonblock = chance.random() < SIGNALLED, chance.random() < NONBLOCKING
    number_of_signal = chance.choice((signal.SIGKILL, signal.SIGINT, signal.SIGTERM))
    after = chance.choice((0.001, 0.01, 0.1, 1.0))
    if calm or not signalled:
        number_of_signal, after = signal.Signals(signal.SIGKILL), 0.0
    return Order(
        number, path, entry.blob, entry.size, how, offset, length, block,
        nonblock=nonblock and not calm and how in (How.READ, How.PREAD),
        signal=int(number_of_signal) if after else 0,
        signal_after=after,
    )  # fmt: skip
