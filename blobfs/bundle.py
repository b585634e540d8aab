"""Bundles: the small blobs of a package in one file, for few requests (docs/formats.md, 14). Pure.

A bundle is the plain concatenation of a package's small blobs, each once, in the order of their first
appearance in the manifest. It holds nothing else: whoever has the manifest knows where each blob stands,
and every blob is verified by its own id. A nested package has a bundle of its own.
"""

from dataclasses import dataclass
from itertools import accumulate

from blobfs.manifest import Manifest
from blobfs.model import CHUNK_SIZE, BlobId

BUNDLED_UP_TO = CHUNK_SIZE
"""Bytes of the largest small blob: what takes a reader a single request for a single chunk anyway. The
empty blob is not one: there is nothing to load."""

BUNDLE_FROM = 8
"""Small blobs a package has at least to be worth a bundle: below, asking for each costs as little."""


@dataclass(frozen=True, slots=True)
class Member:
    blob: BlobId
    offset: int
    """In the bundle."""
    size: int


def bundle_members(manifest: Manifest) -> tuple[Member, ...]:
    """What stands in the package's bundle, by offset; nothing if it has none."""
    small = [(blob, size) for blob, size in manifest.blobs().items() if 0 < size <= BUNDLED_UP_TO]
    if len(small) < BUNDLE_FROM:
        return ()
    offsets = accumulate((size for _, size in small), initial=0)
    return tuple(Member(blob, offset, size) for (blob, size), offset in zip(small, offsets, strict=False))
