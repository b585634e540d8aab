"""All programs of one node at once, for a burst of work during which something happens to it."""

import random
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from tools.crashing.book import Book
from tools.crashing.contents import Contents
from tools.crashing.program import Program, Unexpected
from tools.crashing.transactions import Packer

PROGRAMS = 3
HANG_SECONDS = 30.0
"""Within which every program has come to its end once it is stopped, or the mount is dead."""

Work = Callable[[threading.Event, threading.Event], None]


class Crew:
    """Threads that use a mount; they share the book, and names only in one directory."""

    def __init__(self, mountpoint: Path, book: Book, seed: str, far: Mapping[str, str]) -> None:
        self._chance = random.Random(f"{seed}:crew")
        contents = Contents(seed)
        self.operations = 0
        self._at: int | None = None
        self._reached = threading.Event()
        self.packer = Packer(mountpoint, book, random.Random(f"{seed}:packer"), self._count)
        self.programs = [
            Program(
                number,
                mountpoint,
                book,
                contents,
                far,
                random.Random(f"{seed}:{number}"),
                self._count,
            )
            for number in range(PROGRAMS)
        ]

    @property
    def loads(self) -> int:
        return sum(program.loads for program in self.programs)

    def prepare(self) -> None:
        for program in self.programs:
            program.prepare()

    def wait_for_operation(self, ahead: int, seconds: float) -> None:
        """Until so many further operations were begun; for `seconds` at most."""
        self._reached.clear()
        self._at = self.operations + ahead
        self._reached.wait(seconds)

    def work(self, during: Callable[[threading.Event], None]) -> None:
        """Has all of them work for as long as `during` takes, which is given the event by which it says
        beforehand that the mount will die. Raises `Unexpected`."""
        stop, is_dying = threading.Event(), threading.Event()
        failures: list[Exception] = []

        def run(work: Work) -> None:
            try:
                work(stop, is_dying)
            except Exception as failure:
                failures.append(failure)

        jobs: list[Work] = [self.packer.run, *(program.run for program in self.programs)]
        threads = [threading.Thread(target=run, args=(job,), daemon=True) for job in jobs]
        for thread in threads:
            thread.start()
        try:
            during(is_dying)
        finally:
            stop.set()
            for thread in threads:
                thread.join(HANG_SECONDS)
        if any(thread.is_alive() for thread in threads):
            raise Unexpected(f"a program hangs, {HANG_SECONDS:g} s after its end")
        if failures:
            raise failures[0]

    def _count(self) -> None:
        self.operations += 1  # of several threads: one that is lost does no harm
        if self._at is not None and self.operations >= self._at:
            self._at = None
            self._reached.set()
