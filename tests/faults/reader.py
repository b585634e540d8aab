"""The reader: a process that does loads as it is told and compares every byte. Started by its path.

Stands alone on purpose: with nothing of the checkout imported it starts in 20 ms each time one was killed.

::

    python -I -S reader.py MOUNTPOINT BLOBS COPY

Orders come as lines of JSON on stdin (`tests.faults.orders.Order`), each is answered with one on stdout.
BLOBS is the directory of the right bytes, each file called by its blob id; COPY is where `cp` copies to.
"""

import errno
import json
import mmap
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

ENOUGH_SECONDS = 15.0
"""A load that is still not over reads no further block: slow shares must not stop the campaign."""
SLOW_SECONDS = 1.0
"""Calls from here on are reported one by one."""
PIECE = 4096
"""Of a mapping, looked at at a time."""
SHOWN = 16
"""Bytes of what is wrong."""
ERRNOS = {os.strerror(number): number for number in errno.errorcode}


class Wrong(Exception):
    """What was read is not what is right."""


class Load:
    """One load, and what it has seen so far."""

    def __init__(self, order: dict[str, Any], mountpoint: str, blobs: str, copy: str) -> None:
        self._order = order
        self._size: int = order["size"]
        self._path = os.path.join(mountpoint, order["path"])
        self._right = os.open(os.path.join(blobs, order["blob"]), os.O_RDONLY)
        self._copy = copy
        self._began = time.monotonic()
        self._stage = "open"
        self._calls: list[tuple[str, int, int, float]] = []
        self._slowest = 0.0
        self._compared = 0
        self._claimed = self._size
        self._enough = False

    def run(self) -> dict[str, Any]:
        number, wrong, note = 0, "", ""
        ways = {
            "read": self._read, "pread": self._pread, "mmap": self._mmap, "cp": self._cp, "cat": self._cat
        }  # fmt: skip
        try:
            ways[self._order["how"]]()
        except Wrong as found:
            wrong = str(found)
        except OSError as error:
            number, note = error.errno or -1, str(error)
        finally:
            os.close(self._right)
        return {
            "number": self._order["number"],
            "stage": self._stage,
            "errno": number,
            "wrong": wrong,
            "note": note,
            "seconds": time.monotonic() - self._began,
            "slowest": self._slowest,
            "calls": self._calls,
            "compared": self._compared,
            "claimed": self._claimed,
            "enough": self._enough,
        }

    # Ways to read

    def _read(self) -> None:
        fd = self._open()
        try:
            os.lseek(fd, self._order["offset"], os.SEEK_SET)
            for start, length in self._blocks():
                self._block(start, length, lambda offset, most: os.read(fd, most))
        finally:
            os.close(fd)

    def _pread(self) -> None:
        fd = self._open()
        try:
            for start, length in self._blocks():
                self._block(start, length, lambda offset, most: os.pread(fd, most, offset))
        finally:
            os.close(fd)

    def _mmap(self) -> None:
        fd = self._open()
        try:
            with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as mapped:
                for start, length in self._blocks():
                    for at in range(start, min(start + length, self._size), PIECE):
                        part = slice(at, min(at + PIECE, start + length, self._size))
                        size = part.stop - part.start
                        self._check(at, self._timed("read", at, size, _part_of, mapped, part))
        finally:
            os.close(fd)

    def _cp(self) -> None:
        try:
            self._program("cp", self._path, self._copy)
            with open(self._copy, "rb") as copy:
                self._whole(copy.read())
        finally:
            if os.path.exists(self._copy):
                os.unlink(self._copy)

    def _cat(self) -> None:
        self._whole(self._program("cat", self._path))

    # Parts of them

    def _timed(self, what: str, offset: int, length: int, call: Callable[..., T], *arguments: Any) -> T:
        before = time.monotonic()
        try:
            return call(*arguments)
        finally:
            seconds = time.monotonic() - before
            self._slowest = max(self._slowest, seconds)
            if seconds >= SLOW_SECONDS:
                self._calls.append((what, offset, length, seconds))

    def _open(self) -> int:
        flags = os.O_RDONLY | (os.O_NONBLOCK if self._order["nonblock"] else 0)
        fd = self._timed("open", 0, 0, os.open, self._path, flags)
        self._stage = "read"
        # Of a blob that is only called by its id, a size is a claim until the last leaf is here.
        self._claimed = self._timed("fstat", 0, 0, os.fstat, fd).st_size
        return fd

    def _blocks(self) -> Iterator[tuple[int, int]]:
        """Offset and length of each, within what the order says."""
        first, end = self._order["offset"], self._order["offset"] + self._order["length"]
        starts = list(range(first, end, self._order["block"])) or [first]
        if self._order["how"] == "pread":
            random.Random(self._order["number"]).shuffle(starts)
        for start in starts:
            if time.monotonic() - self._began > ENOUGH_SECONDS:
                self._enough = True
                return
            yield start, min(self._order["block"], end - start)

    def _block(self, start: int, length: int, read: Callable[[int, int], bytes]) -> None:
        """To its end: a call may give less than was asked for, but nothing only at the end of the file."""
        done = 0
        while True:
            offset, left = start + done, length - done
            found = self._timed("read", offset, left, read, offset, left)
            self._check(offset, found)
            done += len(found)
            if not found and offset < min(self._size, start + length):
                raise Wrong(f"an end at byte {offset} of {self._size}")
            if not found or done >= length:
                return

    def _program(self, *command: str) -> bytes:
        environment = {"LC_ALL": "C", "PATH": os.environ["PATH"]}
        done = self._timed(command[0], 0, self._size, _run, command, environment)
        self._stage = "read"
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip()
            if "cannot open" in said or "cannot stat" in said:
                self._stage = "open"
            raise OSError(ERRNOS.get(said.rpartition(": ")[2], -1), said)
        return done.stdout

    def _whole(self, content: bytes) -> None:
        if len(content) != self._size:
            raise Wrong(f"{len(content)} bytes copied, it has {self._size}")
        self._check(0, content)

    def _check(self, offset: int, found: bytes) -> None:
        right = os.pread(self._right, len(found), offset)
        if len(right) < len(found):
            raise Wrong(f"{len(found)} bytes read at {offset} of {self._size}")
        if right != found:
            place = next((i for i, byte in enumerate(right) if byte != found[i]))
            raise Wrong(
                f"byte {offset + place} of {self._size}: {found[place : place + SHOWN].hex()}, right is "
                f"{right[place : place + SHOWN].hex()} ({len(found)} bytes read at {offset})"
            )
        self._compared += len(found)


def _part_of(mapped: mmap.mmap, part: slice) -> bytes:
    return mapped[part]


def _run(command: tuple[str, ...], environment: dict[str, str]) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(command, capture_output=True, env=environment, check=False)


def main() -> None:
    mountpoint, blobs, copy = sys.argv[1:]
    for line in sys.stdin:
        print(json.dumps(Load(json.loads(line), mountpoint, blobs, copy).run()), flush=True)


if __name__ == "__main__":
    main()
