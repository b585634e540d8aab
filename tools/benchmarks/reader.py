"""One reader in a process of its own, which times itself: without the start of an interpreter.

usage: reader first FILE              the first byte
       reader held FILE               opens, says so, waits for a line on stdin, then reads the first byte
       reader random FILE COUNT SEED  so many times 4 KiB, anywhere

Prints one JSON object: ``seconds``, ``errno`` (its name, or null), and whether Python's own handler of SIGINT
has ``interrupted`` it.
"""

import errno
import json
import os
import random
import sys
import time
from collections.abc import Callable
from functools import partial

BLOCK = 4096
READY = "ready"


def read_first(path: str) -> None:
    with open(path, "rb", buffering=0) as file:
        file.read(1)


def read_random(path: str, count: int, seed: int) -> None:
    chance = random.Random(seed)
    with open(path, "rb", buffering=0) as file:
        blocks = os.fstat(file.fileno()).st_size // BLOCK
        for _ in range(count):
            os.pread(file.fileno(), BLOCK, chance.randrange(blocks) * BLOCK)


def hold(path: str) -> Callable[[], object]:
    """What reads from the file when the line has come."""
    descriptor = os.open(path, os.O_RDONLY)
    print(READY, flush=True)
    sys.stdin.readline()
    return partial(os.read, descriptor, 1)


def main() -> None:
    kind, path, *rest = sys.argv[1:]
    kinds: dict[str, Callable[[], Callable[[], object]]] = {
        "first": lambda: partial(read_first, path),
        "held": lambda: hold(path),
        "random": lambda: partial(read_random, path, *map(int, rest)),
    }
    read = kinds[kind]()
    failed, was_interrupted = None, False
    began = time.perf_counter()
    try:
        try:
            read()
        except OSError as error:
            failed = errno.errorcode[error.errno or 0]
    except KeyboardInterrupt:  # perhaps after the call has failed
        was_interrupted = True
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "errno": failed, "interrupted": was_interrupted}), flush=True)


if __name__ == "__main__":
    main()
