"""The map of a partial blob: which of its chunks were verified and written. The format is in
`blobfs.store.layout`.

A map is a claim. Whoever reads one verifies each chunk of which it speaks before anybody sees its bytes; so a
map that went bad costs at most that something is loaded again.
"""

import struct
from typing import NamedTuple

from blobfs.model import CHUNK_SIZE
from blobfs.store.files import replace_file
from blobfs.store.layout import MAP_MAGIC, PRIVATE_FILE_MODE, Layout

HEADER = struct.Struct(f"<{len(MAP_MAGIC)}sQ")


class ChunkMap(NamedTuple):
    """What a map says."""

    size: int
    """Bytes of the blob."""
    bits: bytearray

    def chunks(self) -> list[int]:
        """Those whose bit is set."""
        return [chunk for chunk in range(len(self.bits) * 8) if self.bits[chunk // 8] >> chunk % 8 & 1]


def map_length(size: int) -> int:
    """Bytes of the bits of a blob of that size."""
    return -(-chunk_count(size) // 8)


def chunk_count(size: int) -> int:
    return -(-size // CHUNK_SIZE)


def read_map(layout: Layout, key: str) -> ChunkMap | None:
    """None: there is none, or it is broken. Raises OSError."""
    try:
        raw = layout.partial_map(key).read_bytes()
    except FileNotFoundError:
        return None
    if len(raw) < HEADER.size:
        return None
    magic, size = HEADER.unpack_from(raw)
    bits = bytearray(raw[HEADER.size :])
    if magic != MAP_MAGIC or len(bits) != map_length(size):
        return None
    used = chunk_count(size) % 8
    has_strays = bool(used) and bits[-1] >> used != 0  # behind the last chunk's bit there are none
    return None if has_strays else ChunkMap(size, bits)


def write_map(layout: Layout, key: str, size: int, bits: bytes) -> None:
    """All of it, in one step. Raises OSError."""
    replace_file(layout, layout.partial_map(key), HEADER.pack(MAP_MAGIC, size) + bits, PRIVATE_FILE_MODE)


def claim_all(layout: Layout, key: str, size: int) -> None:
    """A map by which every chunk is there. Raises OSError."""
    write_map(layout, key, size, ((1 << chunk_count(size)) - 1).to_bytes(map_length(size), "little"))
