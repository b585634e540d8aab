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
import stat
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
    kept = memoryview(
        bytearray(b"\1") * (int(count) * BLOCK)
    )  # every page of it is there before the clock runs
    wanted = [(kept[start : start + BLOCK], chance.random()) for start in range(0, len(kept), BLOCK)]
    began = time.perf_counter()
    with open(path, "rb", buffering=0) as file:
        blocks = os.fstat(file.fileno()).st_size // BLOCK
        for target, share in wanted:
            os.preadv(file.fileno(), [target], int(share * blocks) * BLOCK)
    return Read(time.perf_counter() - began, lambda: iter([bytes(kept)]))


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


def small(directory: str, count: str) -> Read:
    """So many files of it: open, read, close, in the order of their names."""
    names = first_names(directory, count)
    kept: list[bytes] = []
    began = time.perf_counter()
    for name in names:
        descriptor = os.open(name, os.O_RDONLY)
        kept.append(os.read(descriptor, 2 * BLOCK))
        os.close(descriptor)
    return Read(time.perf_counter() - began, lambda: iter(kept))


def first_names(directory: str, count: str) -> list[str]:
    return [f"{directory}/{name}" for name in sorted(os.listdir(directory))[: int(count)]]


def stated(directory: str) -> Read:
    """stat of every file, after one list of them."""
    names = [entry.path for entry in sorted(os.scandir(directory), key=lambda entry: entry.name)]
    began = time.perf_counter()
    sizes = [os.stat(name).st_size for name in names]
    return Read(time.perf_counter() - began, lambda: iter([repr(sizes).encode()]))


def parallel(path: str, way: str, readers: str, files: str = "0") -> Read:
    """So many processes at once, until the last of them is done. Each reads

    * ``same``: the file;
    * ``own``: the one that has its number in the directory;
    * ``small``: its part of the first so many files in the directory.
    """
    count = int(readers)
    names = [path]
    tasks: list[Callable[[], object]] = [partial(sequential, path) for _ in range(count)]
    if way == "own":
        names = [f"{path}/{number}" for number in range(count)]
        tasks = [partial(sequential, name) for name in names]
    elif way == "small":
        names = first_names(path, files)
        tasks = [partial(once, names[first::count]) for first in range(count)]
    seconds = together(tasks)
    return Read(seconds, lambda: (piece for name in names for piece in pieces(name)))


def once(names: list[str]) -> None:
    for name in names:
        descriptor = os.open(name, os.O_RDONLY)
        os.read(descriptor, 2 * BLOCK)
        os.close(descriptor)


def together(tasks: list[Callable[[], object]]) -> float:
    """Each in a process of its own, which are all there before the clock runs. Raises if one fails."""
    waiting, start = os.pipe()
    children = [child(task, waiting, start) for task in tasks]
    began = time.perf_counter()
    os.close(start)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    seconds = time.perf_counter() - began
    if any(codes):
        raise OSError(f"{sum(map(bool, codes))} of {len(codes)} readers failed")
    return seconds


def child(task: Callable[[], object], waiting: int, start: int) -> int:
    """Its pid. It begins when nobody holds `start` any more."""
    if pid := os.fork():
        return pid
    try:
        os.close(start)
        os.read(waiting, 1)
        task()
    except BaseException as failure:
        print(failure, file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


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
        paths = (f"{folder}/{name}" for name in names)
        yield from (path for path in paths if stat.S_ISREG(os.lstat(path).st_mode))


KINDS: dict[str, Callable[..., Read]] = {
    "sequential": sequential,
    "random": randomly,
    "mapped": mapped,
    "sent": sent,
    "copied": copied,
    "small": small,
    "stated": stated,
    "parallel": parallel,
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
