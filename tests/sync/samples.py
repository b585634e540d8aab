"""A blob of many chunks, a small one, and shares that have both."""

from blobfs.model import CHUNK_SIZE
from tests.sync.fake_share import FakeShare, blob_of
from tests.sync.running import content

CHUNKS = 20
RAW = content(CHUNKS * CHUNK_SIZE - 1000)
"""Large enough to be loaded by chunks; the last one is short."""
BLOB = blob_of(RAW)
SMALL = content(3 * CHUNK_SIZE + 5, seed=1)


def chunk(number: int, count: int = 1) -> tuple[int, int]:
    """Offset and length of chunks, as a request has them."""
    start = number * CHUNK_SIZE
    return start, min(start + count * CHUNK_SIZE, len(RAW)) - start


def part(number: int, count: int = 1) -> bytes:
    start, length = chunk(number, count)
    return RAW[start : start + length]


def shares(blob: str = "") -> tuple[FakeShare, FakeShare]:
    """The first one fails as it is told, the second one has everything."""
    one, two = FakeShare("http://one/", blob=blob), FakeShare("http://two/")
    for share in one, two:
        share.add_blob(RAW)
        share.add_blob(SMALL)
    return one, two


def covered(start: int, length: int) -> range:
    """The chunks of a request."""
    return range(start // CHUNK_SIZE, -(-(start + length) // CHUNK_SIZE))
