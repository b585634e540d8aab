"""The blob ids of the files of a tree.

Measured with 1,400 files of 35 KB on two cores: what the kernel has in memory takes one thread 80 ms and four
150 ms, for they share one interpreter; what is on the disk only takes one thread 370 to 530 ms and four 190
to 240 ms. Processes save nothing: with their start they take as long as one thread.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing

from blobfs.cli.pack_problems import Problem
from blobfs.cli.pack_progress import Progress
from blobfs.cli.pack_source import Source, SourceFailed, SourceFile
from blobfs.cli.pack_threads import Hand, run_all
from blobfs.merkle import StreamHasher
from blobfs.model import BlobId

THREADS = 4
"""That read and hash at a time."""


def hash_files(
    source: Source, files: Sequence[SourceFile], progress: Progress, draw: Callable[[], None]
) -> tuple[dict[bytes, BlobId], list[Problem]]:
    """Blob ids by path, and what could not be read or has changed. All are tried."""
    blobs: dict[bytes, BlobId] = {}
    problems: list[Problem] = []

    def take(file: SourceFile, hand: Hand) -> None:
        try:
            blobs[file.path] = _hash(source, file, progress, hand)
        except SourceFailed as failure:
            problems.append(failure.problem)

    run_all(files, take, THREADS, draw)
    return blobs, problems


def _hash(source: Source, file: SourceFile, progress: Progress, hand: Hand) -> BlobId:
    hasher = StreamHasher()
    with closing(source.read(file, hand.buffer)) as pieces:
        for piece in pieces:
            hasher.append(piece)
            progress.add(len(piece))
            hand.go_on()
    progress.add(0, files=1)
    return hasher.finish().root


def total_size(files: Iterable[SourceFile]) -> int:
    return sum(file.stamp.size for file in files)
