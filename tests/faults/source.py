"""What there is to load: a share as a real node has written it, full of blobs of awkward sizes."""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from blobfs.model import CHUNK_SIZE, LEAF_SIZE
from tests.mount.node import BlobfsNode
from tests.mount.probes import MIB, attribute

BIG_SHARE = 0.01
"""Of the blobs; they hold half of the bytes."""
BIGGEST = 16 * MIB
TWO_LEVELS = 256 * LEAF_SIZE
"""A tree has a second level from here on."""
EDGES = (LEAF_SIZE, CHUNK_SIZE, 2 * CHUNK_SIZE, 5 * CHUNK_SIZE, MIB, TWO_LEVELS)
DIRECTORIES = ("", "many", "many", "many", "deep/er and/deepest", "öd%20")


@dataclass(frozen=True, slots=True)
class Entry:
    """One name there is to load."""

    name: str
    blob: str
    size: int


def sizes(chance: random.Random, count: int) -> Iterator[int]:
    for number in range(count):
        draw = chance.random()
        if number < 2:
            yield number
        elif draw < BIG_SHARE:
            yield chance.randrange(MIB, BIGGEST)
        elif draw < 0.3:
            yield max(0, chance.choice(EDGES[:4] if draw < 0.28 else EDGES) + chance.choice((-1, 0, 1)))
        elif draw < 0.85:
            yield chance.randrange(20_000)
        else:
            yield chance.randrange(5 * CHUNK_SIZE)


def names(chance: random.Random, count: int) -> Iterator[str]:
    for number in range(count):
        directory = chance.choice(DIRECTORIES)
        yield f"{directory}/f{number}" if directory else f"f{number}"


def build_source(directory: Path, seed: int, count: int) -> tuple[Path, list[Entry]]:
    """The share and what is in it. The same seed gives the same."""
    chance = random.Random(f"{seed}:source")
    made = dict(zip(names(chance, count), sizes(chance, count), strict=True))
    with BlobfsNode(directory, "source") as node:
        for name, size in made.items():
            path = node.path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(chance.randbytes(size))
        for path in {node.path(name).parent for name in made}:
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        entries = [Entry(name, attribute(node.path(name), "id"), size) for name, size in made.items()]
        return node.share, entries
