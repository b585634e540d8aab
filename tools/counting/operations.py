"""What is counted, in an order that brings about the state each operation is named with.

Every operation is done to several files, each of them once, and what it cost is divided by their number.
A phase begins with a mount that the kernel knows nothing of.
"""

import random
from dataclasses import dataclass
from pathlib import Path

from tools.benchmarks.workbench import MIB, PAGE, write_noise

LISTED = 200
"""Names in the directory that is listed."""
LEVELS = "a/b/c/d/e/f/g/h"
BIG = 64 * MIB
WHOLE = 4
"""Files of one MiB."""
MISSING, COLD, VERIFIED, WARM = "missing", "here, cold", "here, verified before", "warm"
FIRST = "first"
"""What a daemon starts when it is first asked to load or to verify, it starts for this file, not counted."""
LATER = "warm, seconds later"
"""The kernel has every page, but may no longer trust the names: their `entry_timeout` is over."""
PAUSE = ("pause", ("2",))
SMALL, WHOLE_READ, ANYWHERE = "open + read + close, 4 KiB", "read 1 MiB from its start", "read 4 KiB anywhere"
DEEP = "open + close, 8 levels deep"


@dataclass(frozen=True, slots=True)
class Operation:
    """`verb` is one of `caller`'s. Without a name it is done and not counted."""

    name: str
    state: str
    verb: str
    paths: tuple[str, ...]
    delivered: int = 0
    """Bytes, each time."""
    before: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Verbs and paths that prepare it, not counted."""

    @property
    def is_warm(self) -> bool:
        """It is done once more right before it is counted."""
        return self.state == WARM


@dataclass(frozen=True, slots=True)
class Plan:
    """So many files of each kind; and what is done with them, phase by phase."""

    count: int

    def write_source(self, mountpoint: Path) -> None:
        for place in ("stat", "small"):
            self._write_many(mountpoint / place, self.count)
        self._write_many(mountpoint / "listed", LISTED, size=16)
        (mountpoint / "whole").mkdir()
        for number in range(WHOLE):
            write_noise(mountpoint / f"whole/{number}", MIB, seed=number)
        for path in self._deep():
            (mountpoint / path).parent.mkdir(parents=True)
            (mountpoint / path).write_bytes(b"deep down")
        write_noise(mountpoint / "big", BIG)
        write_noise(mountpoint / FIRST, 4 * MIB, seed=WHOLE)

    @staticmethod
    def _write_many(place: Path, count: int, size: int = PAGE) -> None:
        place.mkdir()
        for number in range(count):
            (place / str(number)).write_bytes(random.Random(number).randbytes(size))

    def _many(self, place: str) -> tuple[str, ...]:
        return tuple(f"{place}/{number}" for number in range(self.count))

    def _deep(self) -> tuple[str, ...]:
        return tuple(f"deep/{number}/{LEVELS}/file" for number in range(self.count // 4))

    def _anywhere(self) -> tuple[str, ...]:
        """Places in the big file, a few chunks apart from each other at least."""
        step = BIG // (self.count * PAGE)
        near = random.Random(7)
        return tuple(
            f"big@{(number * step + near.randrange(step // 2)) * PAGE}" for number in range(self.count)
        )

    def first(self) -> list[Operation]:
        """Nothing is here: what is read is loaded."""
        listed = tuple(f"listed/{number}" for number in range(LISTED))
        return [
            Operation("stat", MISSING, "stat", self._many("stat"), before=(("stat", ("stat",)),)),
            Operation("ls -l of 200", MISSING, "ls", ("listed",)),
            Operation("ls -l of 200", WARM, "ls", ("listed",)),
            Operation("stat", "after ls", "stat", listed),
            *self._reads(MISSING),
            Operation(SMALL, LATER, "small", self._many("small"), PAGE, before=(PAUSE,)),
            Operation(DEEP, MISSING, "open", self._deep(), before=(("stat", ("deep",)),)),
            Operation(DEEP, WARM, "open", self._deep()),
            Operation(DEEP, LATER, "open", self._deep(), before=(PAUSE,)),
            Operation("getxattr", WARM, "getxattr", self._many("small")),
            Operation("", "", "small", (*self._many("stat"), *listed)),
            Operation("", "", "whole", ("big",)),
        ]

    def again(self) -> list[Operation]:
        """All of it is here, and mounted anew: the kernel has no name and no page of it."""
        whole = tuple(f"whole/{number}" for number in range(WHOLE))
        forget = ("forget", (*self._many("small"), *whole, "big"))
        return [
            Operation("stat", COLD, "stat", self._many("stat"), before=(("stat", ("stat",)),)),
            Operation("ls -l of 200", COLD, "ls", ("listed",)),
            *self._reads(COLD),
            *self._warm_reads(),
            Operation(SMALL, VERIFIED, "small", self._many("small"), PAGE, before=(forget,)),
            Operation(WHOLE_READ, VERIFIED, "whole", whole, MIB),
            Operation(ANYWHERE, VERIFIED, "pread", self._anywhere(), PAGE, before=(("forget", ("big",)),)),
            Operation(DEEP, COLD, "open", self._deep(), before=(("stat", ("deep",)),)),
        ]

    def _reads(self, state: str) -> list[Operation]:
        whole = tuple(f"whole/{number}" for number in range(WHOLE))
        hold = (("hold", ("big",)),)
        return [
            Operation("", "", "whole", (FIRST,)),
            Operation(SMALL, state, "small", self._many("small"), PAGE, before=(("stat", ("small",)),)),
            Operation(WHOLE_READ, state, "whole", whole, MIB, before=(("stat", ("whole",)),)),
            Operation(ANYWHERE, state, "pread", self._anywhere(), PAGE, before=hold),
        ]

    def _warm_reads(self) -> list[Operation]:
        whole = tuple(f"whole/{number}" for number in range(WHOLE))
        return [
            Operation(SMALL, WARM, "small", self._many("small"), PAGE),
            Operation(WHOLE_READ, WARM, "whole", whole, MIB),
            Operation(ANYWHERE, WARM, "pread", self._anywhere(), PAGE),
        ]

    def writing(self) -> list[Operation]:
        """Below a directory that is empty at first."""
        made = self._many("written/dir")
        files, flushed = self._many("written/file"), self._many("written/flushed")
        moved = tuple(f"{path}.moved" for path in files)
        places = ("written", "written/dir", "written/file", "written/flushed", "written/copied")
        name = "create + write 4 KiB"
        return [
            Operation("", "", "mkdir", places),
            Operation("mkdir", "", "mkdir", made),
            Operation(f"{name} + close", "", "create", files, PAGE),
            Operation(f"{name} + fsync + close", "", "create_flushed", flushed, PAGE),
            Operation("rename", "", "rename", files),
            Operation("unlink", "", "unlink", moved),
            Operation("cp of 64 MiB", "", "copy", ("written/copied/1", "written/copied/2"), BIG),
        ]
