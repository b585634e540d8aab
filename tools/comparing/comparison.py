"""What a workload works with: turns of all peers side by side, and failures that are told, not raised.

A machine's speed drifts, and others work on it. So in every turn each peer goes once, case by case; who
begins changes from turn to turn, because who comes after a heavy one pays for what that left behind.
"""

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tools.benchmarks.report import say, shown
from tools.benchmarks.running import Failed, Overdue
from tools.benchmarks.workbench import Workbench
from tools.comparing.results import Result

Way = tuple[str, str]
"""Case and peer."""
TOLD = 200
"""Characters of a failure that a table has room for."""


class WrongBytes(Exception):
    """A peer answered a read with something else than what was written."""


FAILURES = (Failed, Overdue, WrongBytes, OSError, AssertionError, RuntimeError, subprocess.SubprocessError)
"""What a peer may do to whoever measures it; the building blocks assert that what they start does start."""


@dataclass(slots=True)
class _Taken:
    """What one way has brought so far."""

    values: list[float] = field(default_factory=list)
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How much is to be done, and where."""

    bench: Workbench

    @property
    def runs(self) -> int:
        return self.bench.runs

    @property
    def quick(self) -> bool:
        return self.bench.quick

    def size(self, full: int, quick: int) -> int:
        return self.bench.size(full, quick)

    def alternate(
        self, workload: str, ways: Mapping[Way, Callable[[], float]], unit: str = "s"
    ) -> list[Result]:
        """Goes every way once a turn. One that fails is left out from then on, and says why."""
        taken: dict[Way, _Taken] = {way: _Taken() for way in ways}
        for turn in range(self.runs):
            for way in in_turn(list(ways), turn):
                if not taken[way].failure:
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
    try:
        value = once()
    except FAILURES as failure:
        taken.failure = in_words(failure)
        say(f"  {workload}: {case}: {peer}: {taken.failure}")
    else:
        taken.values.append(value)
        say(f"  {workload}: {case}: {peer}: {shown(value)} {unit}")


def in_words(failure: BaseException) -> str:
    """One line, short enough for a table."""
    words = " ".join(str(failure).split()) or type(failure).__name__
    if isinstance(failure, WrongBytes):
        words = f"wrong bytes: {words}"
    return words if len(words) <= TOLD else f"{words[:TOLD]}…"
