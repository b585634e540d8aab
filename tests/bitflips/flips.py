"""Bits that are flipped in a store at rest, and what verification should say of each.

A flip matters where what it hits vouches for something or is given to somebody. It does not

* in a chunk of a partial blob that its map does not speak of: it is loaded;
* in a map, where it takes a chunk back: that is loaded again;
* in a part of a partial blob for which nothing vouches, because a node of its tree above was hit too: it is
  verified before it is used.
"""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from blobfs.chunks import HEADER
from blobfs.model import CHUNK_SIZE

WEIGHTS = {
    "blob": 10, "tree": 5, "bundle": 1, "record": 5, "log": 4, "map": 3, "partial blob": 2, "partial tree": 2,
    "waiting names": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Flip:
    """One bit of one file; `path` is relative to the store."""

    kind: str
    path: str
    offset: int
    bit: int
    harmless: str = ""
    """Why it does not matter."""


def files_of(store: Path) -> dict[str, list[Path]]:
    """What may be hit, by kind; what is empty cannot."""
    reserved, partial = store / "share/.blobfs", store / "partial"
    names = [path for path in (reserved / "names").rglob("*") if path.is_file()]
    found = {
        "blob": list((reserved / "blobs").iterdir()),
        "tree": list((reserved / "trees").iterdir()),
        "bundle": list((reserved / "bundles").iterdir()),
        "record": [path for path in names if path.name != ".blobfs-log"],
        "log": [path for path in names if path.name == ".blobfs-log"],
        "map": list(partial.glob("*.map")),
        "partial blob": [path for path in partial.iterdir() if not path.suffix],
        "partial tree": list(partial.glob("*.tree")),
        "waiting names": list(partial.glob("*.names")),
    }
    return {kind: sorted(path for path in paths if path.stat().st_size) for kind, paths in found.items()}


def choose(store: Path, chance: random.Random, count: int) -> list[Flip]:
    """Different bits, so that none is flipped back."""
    files = {kind: paths for kind, paths in files_of(store).items() if paths}
    kinds = list(files)
    chosen: dict[tuple[str, int, int], Flip] = {}
    while len(chosen) < count:
        kind = chance.choices(kinds, [WEIGHTS[kind] for kind in kinds])[0]
        path = chance.choice(files[kind])
        offset, bit = chance.randrange(path.stat().st_size), chance.randrange(8)
        shown = str(path.relative_to(store))
        chosen[shown, offset, bit] = Flip(kind, shown, offset, bit, _harmless(kind, path, offset, bit))
    return list(chosen.values())


def _harmless(kind: str, path: Path, offset: int, bit: int) -> str:
    if kind == "partial blob" and not _is_claimed(path, offset // CHUNK_SIZE):
        return "its chunk is not here yet"
    if kind == "map" and offset >= HEADER.size and path.read_bytes()[offset] >> bit & 1:
        return "the chunk is loaded again"
    return ""


def _is_claimed(content: Path, chunk: int) -> bool:
    bits = content.with_name(f"{content.name}.map").read_bytes()[HEADER.size :]
    return bool(bits[chunk // 8] >> chunk % 8 & 1)


def apply(store: Path, flips: list[Flip]) -> None:
    """As rot does it: no time changes."""
    for flip in flips:
        path = store / flip.path
        found = path.stat()
        fd = os.open(path, os.O_RDWR)
        try:
            byte = os.pread(fd, 1, flip.offset)[0]
            os.pwrite(fd, bytes([byte ^ 1 << flip.bit]), flip.offset)
        finally:
            os.close(fd)
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def unfound(flips: list[Flip], findings: list[dict[str, object]]) -> Iterator[Flip]:
    """Those that matter and of which no finding tells.

    Of a partial blob anything that is told will do: what its tree vouched for is told with the tree.
    """
    told = {str(finding["path"]) for finding in findings}
    # The tree of a wrong blob goes with it; a bundle is told when the manifest is here again.
    wrong = {path for path in told if "/blobs/" in path}
    told |= {path.replace("/blobs/", place) for path in wrong for place in ("/trees/", "/bundles/")}
    partial = {path.partition(".")[0] for path in told if path.startswith("partial/")}
    for flip in flips:
        is_partial = flip.path.startswith("partial/") and flip.path.partition(".")[0] in partial
        if not flip.harmless and flip.path not in told and not is_partial:
            yield flip
