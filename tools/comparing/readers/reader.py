"""One reader in a process of its own, which times itself: without the start of an interpreter.

usage: reader KIND [--digest] ARGUMENT...

Prints one JSON object: ``seconds``, and with ``--digest`` the SHA-256 of all that was read (where the kind
keeps it, or reads it again), taken when the clock stood still already.
"""

import hashlib
import json
import mmap
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

BLOCK = 4096
PIECE = 1 << 20


class Read(NamedTuple):
    seconds: float
    content: Callable[[], Iterator[bytes]]
    """What was read, in an order that is always the same."""


def sequential(path: str) -> Read:
    began = time.perf_counter()
    with open(path, "rb", buffering=0) as file:
        buffer = bytearray(PIECE)
        while file.readinto(buffer):
            pass
    return Read(time.perf_counter() - began, lambda: pieces(path))


def pieces(path: str) -> Iterator[bytes]:
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(PIECE):
            yield piece


def randomly(path: str, count: str, seed: str) -> Read:
    """So many blocks anywhere in it; the same ones for the same seed."""
    chance = random.Random(int(seed))
    wanted = int(count)
    kept = bytearray(b"\1") * (wanted * BLOCK)  # every page of it is there before the clock runs
    view = memoryview(kept)
    with open(path, "rb", buffering=0) as file:
        blocks = os.fstat(file.fileno()).st_size // BLOCK
        places = [(number * BLOCK, chance.randrange(blocks) * BLOCK) for number in range(wanted)]
        began = time.perf_counter()
        for target, offset in places:
            os.preadv(file.fileno(), [view[target : target + BLOCK]], offset)
        seconds = time.perf_counter() - began
    return Read(seconds, lambda: iter([bytes(kept)]))


def mapped(path: str) -> Read:
    """A byte of every page, through a map of the file."""
    began = time.perf_counter()
    with open(path, "rb", buffering=0) as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as content:
        for offset in range(0, len(content), mmap.PAGESIZE):
            content[offset]
    return Read(time.perf_counter() - began, lambda: pieces(path))


def sent(path: str) -> Read:
    """By sendfile(2), to nobody: what a web server does with it."""
    began = time.perf_counter()
    with open(path, "rb", buffering=0) as file, open("/dev/null", "wb", buffering=0) as nobody:
        while os.sendfile(nobody.fileno(), file.fileno(), None, PIECE):
            pass
    return Read(time.perf_counter() - began, lambda: pieces(path))


def copied(path: str, target: str) -> Read:
    """By copy_file_range(2), and by read and write where the kernel will not: as cp does."""
    began = time.perf_counter()
    with open(path, "rb", buffering=0) as file, open(target, "wb", buffering=0) as copy:
        try:
            while os.copy_file_range(file.fileno(), copy.fileno(), 1 << 30):
                pass
        except OSError:
            while piece := file.read(PIECE):
                copy.write(piece)
    return Read(time.perf_counter() - began, lambda: pieces(target))


def small(directory: str) -> Read:
    """Every file of it: open, read, close, in the order of their names."""
    names = [f"{directory}/{name}" for name in sorted(os.listdir(directory))]
    kept: list[bytes] = []
    began = time.perf_counter()
    for name in names:
        descriptor = os.open(name, os.O_RDONLY)
        kept.append(os.read(descriptor, 2 * BLOCK))
        os.close(descriptor)
    return Read(time.perf_counter() - began, lambda: iter(kept))


def stated(directory: str) -> Read:
    """stat of every file, after one list of them."""
    names = [entry.path for entry in sorted(os.scandir(directory), key=lambda entry: entry.name)]
    began = time.perf_counter()
    sizes = [os.stat(name).st_size for name in names]
    return Read(time.perf_counter() - began, lambda: iter([repr(sizes).encode()]))


def dropped(*paths: str, flush: bool = False) -> Read:
    """Forgets what the kernel keeps of all files below the paths. What is not on the disk yet stays."""
    began = time.perf_counter()
    for path in (file for each in paths for file in files_below(each)):
        descriptor = os.open(path, os.O_RDONLY)
        if flush:
            os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    return Read(time.perf_counter() - began, lambda: iter(()))


def files_below(path: str) -> Iterator[str]:
    if not os.path.isdir(path):
        yield path
    for folder, _, names in os.walk(path):
        yield from (f"{folder}/{name}" for name in names if not os.path.islink(f"{folder}/{name}"))


KINDS: dict[str, Callable[..., Read]] = {
    "sequential": sequential,
    "random": randomly,
    "mapped": mapped,
    "sent": sent,
    "copied": copied,
    "small": small,
    "stated": stated,
    "dropped": dropped,
    "flushed": partial(dropped, flush=True),
}


def main() -> None:
    kind, *arguments = sys.argv[1:]
    wants_digest = "--digest" in arguments
    done = KINDS[kind](*(argument for argument in arguments if argument != "--digest"))
    digest = hashlib.sha256()
    for piece in done.content() if wants_digest else ():
        digest.update(piece)
    print(json.dumps({"seconds": done.seconds, "digest": digest.hexdigest() if wants_digest else ""}))


if __name__ == "__main__":
    main()
