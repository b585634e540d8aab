"""One load: what is read of which blob, how, and what is done to the reader. Pure: seed and number decide."""

import random
import signal
from dataclasses import dataclass
from enum import StrEnum

from blobfs.model import CHUNK_SIZE
from tests.faults.source import Entry

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
