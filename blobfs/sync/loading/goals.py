"""What of a blob is worth having though nobody waits for just that: read-ahead, the fill, a whole blob."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from blobfs.shares.choice import Urgency
from blobfs.store.partial import Partial


@dataclass(frozen=True, slots=True)
class Goal:
    """A range of chunks."""

    first: int
    stop: int
    urgency: Urgency
    is_awaited: bool
    """Somebody wants to know if they cannot be had."""
    is_moving: bool = False
    """More will be worth having soon, so that a small rest can wait."""


class Goals:
    """Of one load: those that are awaited, and at most one that runs ahead of its readers. Mutable:
    `_goals`."""

    def __init__(self, partial: Partial) -> None:
        self._partial = partial
        self._goals: list[Goal] = []

    def __bool__(self) -> bool:
        return bool(self._goals)

    def __iter__(self) -> Iterator[Goal]:
        """The most urgent first; of a snapshot."""
        return iter(sorted(self._goals, key=lambda goal: goal.urgency))

    def add_awaited(self, first: int, stop: int, urgency: Urgency) -> Goal:
        """`remove` it when it is not awaited any more."""
        goal = Goal(first, stop, urgency, is_awaited=True)
        self._goals.append(goal)
        return goal

    def remove(self, goal: Goal) -> None:
        self._goals.remove(goal)

    def move_ahead(self, first: int, stop: int) -> None:
        """A sequential reader is at `first`, and is expected to get to `stop`."""
        for goal in self._goals:
            if not goal.is_awaited and goal.first < first <= goal.stop:
                # Readers behind wait for what the sequence has not got to yet.
                absent = self._partial.next_absent(goal.first, first)
                first = absent if absent >= 0 else first
        self.forget_ahead()
        is_moving = stop < self._partial.chunks
        self._goals.append(Goal(first, stop, Urgency.AHEAD, is_awaited=False, is_moving=is_moving))

    def forget_ahead(self) -> None:
        """Nobody reads on."""
        self._goals = [goal for goal in self._goals if goal.is_awaited]

    def reach(self, first: int, stop: int) -> Goal | None:
        """The sequence that these chunks are part of, which they are made if they stand at its beginning.

        The kernel asks far ahead of its reader, and not quite in order.
        """
        for number, goal in enumerate(self._goals):
            if not goal.is_awaited and first < goal.stop and goal.first <= stop:
                goal = self._goals[number] = replace(goal, first=min(goal.first, first))
                return goal if stop <= goal.stop else None
        return None
