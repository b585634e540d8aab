"""What was wanted, beside what was measured: figures of two peers, turn by turn, against a bound. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tools.comparing.results import Result, find, ratio

OURS = "blobfs"


class Verdict(StrEnum):
    MET = "met"
    MISSED = "missed"
    UNKNOWN = "not measured"


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound for one figure. How many times as fast as `peer`, or the figure itself if there is no peer."""

    text: str
    workload: str
    case: str
    peer: str
    bound: float
    is_most: bool = False
    """The bound may not be exceeded; otherwise it must be reached."""
    unit: str = "s"

    @property
    def wanted(self) -> str:
        bound = f"{'≤' if self.is_most else '≥'} {self.bound:.3g}"
        return f"{bound}× {self.peer}" if self.peer else f"{bound} {self.unit}".removesuffix(" 1")


@dataclass(frozen=True, slots=True)
class Row:
    """One goal and what came of it."""

    goal: Goal
    measured: float | None
    verdict: Verdict


def _faster(what: str, workload: str, case: str, peer: str, times: float, unit: str = "s") -> Goal:
    return Goal(what, workload, case, peer, times, unit=unit)


def _most(what: str, workload: str, case: str, bound: float, unit: str) -> Goal:
    return Goal(what, workload, case, "", bound, is_most=True, unit=unit)


GOALS: Sequence[Goal] = (
    _faster("warm, sequential", "sequential", "warm", "ext4", 0.9),
    _faster("warm, random", "random", "warm", "ext4", 0.9, "us"),
    _faster("warm, mmap", "calls", "mmap, warm", "ext4", 0.9),
    _faster("here but cold, sequential", "sequential", "here, cold", "rclone", 2),
    _faster("here but cold, sequential", "sequential", "here, cold", "bindfs", 1.5),
    _faster("missing, sequential, verified", "sequential", "missing", "curl + sha256sum", 1),
    _faster("missing, sequential, verified", "sequential", "missing", "rclone", 4),
    _faster("missing, one random read of 4 KiB", "random", "missing, one", "curl -r", 0.5, "ms"),
    _most("missing, one random read: transferred", "random", "missing, one", 0.262144, "MB"),
    _faster("small files, warm", "small", "warm", "bindfs", 1, "us"),
    _faster("small files, warm", "small", "warm", "rclone", 5, "us"),
    _most("small files, warm: round trips waited for", "trips", "small file, warm", 2, "requests"),
    _faster("small files, missing", "small", "missing", "rclone", 2, "us"),
    _faster("small files, missing, 16 readers", "small", "missing, 16 readers", "rclone", 4, "us"),
    _most("stat after ls: round trips", "trips", "stat after ls", 0, "requests"),
    _faster("write 1 GiB", "write", "cp of a big file", "cp + sha256sum", 0.8),
    _faster("2,000 small writes", "write", "cp -r of small files", "rclone", 3),
    _faster("2,000 small writes", "write", "cp -r of small files", "bindfs", 0.5),
    _most("swarm of 8, load: leave the first node", "swarm", "blobfs load: left the first node", 3, "copies"),
    _most("swarm of 8, cat: leave the first node", "swarm", "cat: left the first node", 3, "copies"),
    _most("idle: wake-ups a second beyond the watchdog", "idle", "context switches a second", 0.1, "1"),
    _most("idle: memory", "idle", "memory", 60, "MB"),
)
"""≤ 2× the latency of a peer is ≥ 0.5 of its speed."""


def judge(results: Iterable[Result], goals: Sequence[Goal] = GOALS) -> list[Row]:
    known = list(results)
    return [_judge(known, goal) for goal in goals]


def _judge(results: Sequence[Result], goal: Goal) -> Row:
    known = [result for result in results if result.unit == goal.unit]
    ours = find(known, goal.workload, goal.case, OURS)
    if goal.peer:
        measured = ratio(find(known, goal.workload, goal.case, goal.peer), ours)
    else:
        measured = ours.median if ours is not None else None
    if measured is None or (ours is not None and ours.failure):
        return Row(goal, measured, Verdict.UNKNOWN if ours is None or not ours.failure else Verdict.MISSED)
    is_met = measured <= goal.bound if goal.is_most else measured >= goal.bound
    return Row(goal, measured, Verdict.MET if is_met else Verdict.MISSED)
