"""The map of a partial blob on the disk: which of its chunks were verified and written. The format is in
`blobfs.store.layout`.

A map is a claim. Whoever reads one verifies each chunk of which it speaks before anybody sees its bytes; so a
map that went bad costs at most that something is loaded again.
"""

from blobfs.chunks import ChunkMap, full_bits, pack_map, parse_map
from blobfs.store.files import replace_file
from blobfs.store.layout import PRIVATE_FILE_MODE, Layout


def read_map(layout: Layout, key: str) -> ChunkMap | None:
    """None: there is none, or it is broken. Raises OSError."""
    try:
        return parse_map(layout.partial_map(key).read_bytes())
    except FileNotFoundError:
        return None


def write_map(layout: Layout, key: str, size: int, bits: bytes) -> None:
    """All of it, in one step. Raises OSError."""
    replace_file(layout, layout.partial_map(key), pack_map(size, bits), PRIVATE_FILE_MODE)


def claim_all(layout: Layout, key: str, size: int) -> None:
    """A map by which every chunk is there. Raises OSError."""
    write_map(layout, key, size, full_bits(size))
