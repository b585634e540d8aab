"""Which chunks of a blob there are: a bit for each, as a map on the disk has them (`blobfs.store.layout`),
and as a node that is loading the blob tells them to others (docs/formats.md).
"""

import struct
from typing import NamedTuple

from blobfs.model import CHUNK_SIZE

MAP_MAGIC = b"blobfsmap1\n"
HEADER = struct.Struct(f"<{len(MAP_MAGIC)}sQ")


class ChunkMap(NamedTuple):
    """What a map says."""

    size: int
    """Bytes of the blob."""
    bits: bytearray

    def chunks(self) -> list[int]:
        """Those whose bit is set."""
        return [chunk for chunk in range(len(self.bits) * 8) if self.bits[chunk // 8] >> chunk % 8 & 1]


def chunk_count(size: int) -> int:
    return -(-size // CHUNK_SIZE)


def map_length(size: int) -> int:
    """Bytes of the bits of a blob of that size."""
    return -(-chunk_count(size) // 8)


def full_bits(size: int) -> bytes:
    """Every chunk is there."""
    return ((1 << chunk_count(size)) - 1).to_bytes(map_length(size), "little")


def pack_map(size: int, bits: bytes) -> bytes:
    return HEADER.pack(MAP_MAGIC, size) + bits


def parse_map(raw: bytes) -> ChunkMap | None:
    """None: it is broken."""
    if len(raw) < HEADER.size:
        return None
    magic, size = HEADER.unpack_from(raw)
    bits = bytearray(raw[HEADER.size :])
    if magic != MAP_MAGIC or len(bits) != map_length(size):
        return None
    used = chunk_count(size) % 8
    has_strays = bool(used) and bits[-1] >> used != 0  # behind the last chunk's bit there are none
    return None if has_strays else ChunkMap(size, bits)
