"""Bundles of directories: the small blobs of a directory of names in few files (docs/formats.md, 15). Pure.

A share lists a directory's bundles beside its log. Each is, as a package's, the plain concatenation of small
blobs, and never changes: what comes to the directory later is in another one. Its id follows from what it is
of, so shares that have the same files may have the same bundle. Whoever reads one verifies each blob by its
own id; a list that is wrong, or older than the directory, costs nothing but a question.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from blobfs.bundle import BUNDLE_FROM, Member
from blobfs.merkle import StreamHasher
from blobfs.model import BlobId, Invalid, Name, parse_blob_id

LIST_NAME = ".blobfs-bundles"
LIST_VERSION = 1

SMALL = 32 * 1024
"""Bytes of the largest blob in a directory's bundle: asking for it on its own takes longer than its bytes."""
MOST_BYTES = 16 << 20
"""Of one bundle: what is written anew when a file in it has been removed."""
MOST_LISTED = 65_536
"""Blobs in a directory's bundles, which makes a list of 5 MB; those beyond are asked for one by one."""
MAX_LIST_BYTES = 8 << 20
"""A longer list is refused: it is in memory as a whole."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """One of a directory's."""

    id: BlobId
    members: tuple[Member, ...]

    @property
    def size(self) -> int:
        """Bytes of it."""
        return self.members[-1].offset + self.members[-1].size


def make_bundle(directory: Name, blobs: Iterable[tuple[BlobId, int]]) -> Bundle:
    """Of blobs with their sizes, in that order; there is one at least."""
    small = tuple(blobs)
    hasher = StreamHasher()
    hasher.append(directory.encode() + b"\0" + b"".join(bytes.fromhex(blob) for blob, _ in small))
    offsets = accumulate((size for _, size in small), initial=0)
    members = (Member(blob, at, size) for (blob, size), at in zip(small, offsets, strict=False))
    return Bundle(hasher.finish().root, tuple(members))


def is_small(size: int) -> bool:
    """Whether a blob of so many bytes is in a bundle of the directory it has a name in."""
    return 0 < size <= SMALL


def plan_bundles(directory: Name, wanted: Mapping[BlobId, int], before: Sequence[Bundle]) -> list[Bundle]:
    """The bundles that a directory with these small blobs should have, if it has had those so far.

    1. One of whose blobs none is gone stays.
    2. The rest is in new ones, in the order of `wanted`. A bundle before that is no larger than what has come
       since goes into them, so a byte is written again only when there is twice as much.
    3. Too little for a bundle of its own is in none.
    """
    left = dict(wanted)
    if len(left) > MOST_LISTED:
        left = dict(list(left.items())[:MOST_LISTED])
    kept: list[Bundle] = []
    for bundle in before:
        if all(left.get(member.blob) == member.size for member in bundle.members):
            kept.append(bundle)
            for member in bundle.members:
                del left[member.blob]
    fresh = sum(left.values())
    while kept and fresh and kept[-1].size <= min(fresh, MOST_BYTES // 2):
        fresh += kept[-1].size
        left |= {member.blob: member.size for member in kept.pop().members}
    ordered = [(blob, wanted[blob]) for blob in wanted if blob in left]
    return kept + [make_bundle(directory, group) for group in _groups(ordered)]


def _groups(blobs: Sequence[tuple[BlobId, int]]) -> Iterator[list[tuple[BlobId, int]]]:
    group: list[tuple[BlobId, int]] = []
    size = 0
    for each in blobs:
        if group and size + each[1] > MOST_BYTES:
            yield group
            group, size = [], 0
        group.append(each)
        size += each[1]
    if len(group) >= BUNDLE_FROM:
        yield group


def encode_list(bundles: Iterable[Bundle]) -> bytes:
    """The file that lists them."""
    lines = [{"bundles": LIST_VERSION}] + [
        {
            "blobs": [member.blob for member in bundle.members],
            "sizes": [member.size for member in bundle.members],
        }
        for bundle in bundles
    ]
    return b"".join(json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n" for line in lines)


def decode_list(raw: bytes, directory: Name) -> tuple[Bundle, ...]:
    """Raises `Invalid`."""
    try:
        header, *lines = [json.loads(line) for line in raw.splitlines()]
        if not isinstance(header, dict) or header.get("bundles") != LIST_VERSION:
            raise Invalid("not a list of bundles that is known here")
        return tuple(_decode(line, directory) for line in lines)
    except (ValueError, RecursionError) as wrong:  # of `Invalid` too
        raise Invalid(f"no list of bundles: {wrong}") from wrong


def _decode(line: object, directory: Name) -> Bundle:
    blobs, sizes = (line.get("blobs"), line.get("sizes")) if isinstance(line, dict) else (None, None)
    if not isinstance(blobs, list) or not isinstance(sizes, list) or not 0 < len(blobs) == len(sizes):
        raise Invalid("a bundle without its blobs and their sizes")
    if not all(type(size) is int and is_small(size) for size in sizes):
        raise Invalid("a bundle of what is not small")
    if not all(isinstance(blob, str) for blob in blobs):
        raise Invalid("a bundle of what are no blob ids")
    return make_bundle(directory, zip(map(parse_blob_id, blobs), sizes, strict=True))
