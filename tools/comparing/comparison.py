"""What a workload works with: turns of all peers side by side, and failures that are told, not raised.

A machine's speed drifts, and others work on it. So in every turn each peer goes once, case by case; who
begins changes from turn to turn, because who comes after a heavy one pays for what that left behind.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from subprocess import SubprocessError

from blobfs.errors import BlobfsError
from tools.benchmarks.report import say, shown
from tools.benchmarks.running import Failed, Overdue
from tools.benchmarks.workbench import Workbench
from tools.comparing.peers.peer import Named
from tools.comparing.results import Result

Way = tuple[str, str]
"""Case and peer."""
EXPENSIVE_SECONDS = 20.0
"""What takes longer, checks and all, goes once: a turn of it would cost more than it teaches."""
MOUNTPOINT = re.compile(r"/\S+/(node-)?mnt\b")
"""As failures name it: another one every time."""
TOLD = 200
"""Characters of a failure that a table has room for."""


class WrongBytes(Exception):
    """A peer answered a read with something else than what was written."""


FAILURES = (Failed, Overdue, WrongBytes, OSError, BlobfsError, AssertionError, RuntimeError, SubprocessError)
"""What a peer may do to whoever measures it; the building blocks assert that what they start does start."""


@dataclass(slots=True)
class _Taken:
    """What one way has brought so far."""

    values: list[float] = field(default_factory=list)
    failure: str = ""
    is_over: bool = False
    """No more turns of it."""


class Noted:
    """Figures that a way finds besides the one that it is gone for: requests, bytes, a later moment."""

    def __init__(self, workload: str) -> None:
        self._workload = workload
        self._values: dict[tuple[str, str, str], list[float]] = {}

    def note(self, case: str, peer: str, value: float, unit: str = "s") -> None:
        self._values.setdefault((case, peer, unit), []).append(value)

    def results(self) -> list[Result]:
        return [
            Result(self._workload, case, peer, unit, tuple(values))
            for (case, peer, unit), values in self._values.items()
        ]


@dataclass(frozen=True, slots=True)
class Comparison:
    """How much is to be done, where, and beside whom."""

    bench: Workbench
    only: frozenset[str] = frozenset()
    """The names of the peers that go; all if it is empty."""

    @property
    def runs(self) -> int:
        return self.bench.runs

    @property
    def quick(self) -> bool:
        return self.bench.quick

    def has(self, peer: Named) -> bool:
        """Whether it goes: it is wanted, and installed."""
        return self.wants(peer) and peer.version() is not None

    def wants(self, peer: Named) -> bool:
        return not self.only or peer.name in self.only

    def size(self, full: int, quick: int) -> int:
        return self.bench.size(full, quick)

    def alternate(
        self, workload: str, ways: Mapping[Way, Callable[[], float]], unit: str = "s"
    ) -> list[Result]:
        """Goes every way once a turn.

        One that fails is left out from then on, and says why; so is one that is hopelessly slow.
        """
        taken: dict[Way, _Taken] = {way: _Taken() for way in ways}
        for turn in range(self.runs):
            for way in in_turn(list(ways), turn):
                if not taken[way].is_over:
                    _go(workload, way, ways[way], unit, taken[way])
        return [
            Result(workload, case, peer, unit, tuple(each.values), each.failure)
            for (case, peer), each in taken.items()
        ]


def in_turn(ways: Sequence[Way], turn: int) -> list[Way]:
    """Case by case as they are given, in each the peers, of whom another one begins every turn."""
    order: list[Way] = []
    for case in dict.fromkeys(case for case, _ in ways):
        peers = [way for way in ways if way[0] == case]
        first = turn % len(peers)
        order += peers[first:] + peers[:first]
    return order


def _go(workload: str, way: Way, once: Callable[[], float], unit: str, taken: _Taken) -> None:
    case, peer = way
    began = time.monotonic()
    try:
        value = once()
    except FAILURES as failure:
        taken.failure, taken.is_over = in_words(failure), True
        say(f"  {workload}: {case}: {peer}: {taken.failure}")
    else:
        taken.values.append(value)
        taken.is_over = time.monotonic() - began > EXPENSIVE_SECONDS
        say(f"  {workload}: {case}: {peer}: {shown(value)} {unit}")


def in_words(failure: BaseException) -> str:
    """One line, short enough for a table."""
    words = MOUNTPOINT.sub("MOUNT", str(failure)).strip() or type(failure).__name__
    if isinstance(failure, Failed):
        words = words.rpartition("\n")[2]  # what went before is the command, and a traceback
    if isinstance(failure, WrongBytes):
        words = f"wrong bytes: {words}"
    return words if len(words) <= TOLD else f"{words[:TOLD]}…"
