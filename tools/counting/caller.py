"""Does operations in a mount when it is told to, in a process of its own that may hang there and be killed.

Arguments: the mount, and a file to copy from. Each line of stdin is a JSON list: a verb and its paths. Each
is answered by a line: how often the thread that called slept, and the seconds each operation took. Only
system calls that are meant are made between the two looks at the clock.
"""

import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable

CHUNK = 128 * 1024
"""What cat reads at once."""
CONTENT = bytes(4096)
HELD: dict[str, int] = {}
"""Descriptors of files that stay open until this ends."""
SOURCE = sys.argv[2] if len(sys.argv) > 2 else ""


def read_small(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.read(descriptor, 8192)
    os.close(descriptor)


def read_whole(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    while os.read(descriptor, CHUNK):
        pass
    os.close(descriptor)


def read_page(place: str) -> None:
    path, _, offset = place.rpartition("@")
    os.pread(HELD[path], 4096, int(offset))


def create(path: str, is_flushed: bool = False) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(descriptor, CONTENT)
    if is_flushed:
        os.fsync(descriptor)
    os.close(descriptor)


def forget(path: str) -> None:
    """Takes the pages of a file out of the kernel's cache."""
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def get_attribute(path: str) -> None:
    with contextlib.suppress(OSError):  # where nobody has such a one, asking for it is what counts
        os.getxattr(path, "user.blobfs.id")


def list_long(path: str) -> None:
    subprocess.run(["ls", "-l", path], stdout=subprocess.DEVNULL, check=True, timeout=60)


VERBS: dict[str, Callable[[str], object]] = {
    "stat": os.stat,
    "ls": list_long,
    "small": read_small,
    "whole": read_whole,
    "pread": read_page,
    "hold": lambda path: HELD.setdefault(path, os.open(path, os.O_RDONLY)),
    "forget": forget,
    "pause": lambda seconds: time.sleep(float(seconds)),
    "open": lambda path: os.close(os.open(path, os.O_RDONLY)),
    "getxattr": get_attribute,
    "mkdir": os.mkdir,
    "create": create,
    "create_flushed": lambda path: create(path, is_flushed=True),
    "rename": lambda path: os.rename(path, f"{path}.moved"),
    "unlink": os.unlink,
    "copy": lambda path: subprocess.run(["cp", SOURCE, path], check=True, timeout=120),
}


def slept() -> int:
    """Of this thread, and of what it has started and seen the end of."""
    whose = resource.RUSAGE_THREAD, resource.RUSAGE_CHILDREN
    return sum(resource.getrusage(each).ru_nvcsw for each in whose)


def main() -> None:
    os.chdir(sys.argv[1])  # so that a path costs no lookup of what leads to the mount
    for line in sys.stdin:
        verb, *paths = json.loads(line)
        call, seconds, before = VERBS[verb], [], slept()
        for path in paths:
            began = time.perf_counter()
            call(path)
            seconds.append(time.perf_counter() - began)
        print(json.dumps({"sleeps": slept() - before, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
