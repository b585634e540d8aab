"""What programs were told, and therefore what may be found after a crash. Pure, but for a lock.

Each key (a name, a directory, a transaction, one of its blobs) has a history of values. An operation
appends the value that it leads to *before* its system call, and acknowledges it after that has returned.
A value that is safe from some kind of crash makes all earlier ones impossible:

===============  ====================================================================================
`Safe.NOT_YET`   acknowledged, but promised to nobody: a close without fsync
`Safe.KILL`      a SIGKILL cannot take it back: a rename, an unlink, a seal that was waited for
`Safe.POWER`     nor can a power cut: fsync and close, or fsync of the directory afterwards
===============  ====================================================================================

So after a crash a key may have its last safe value or any later one, and no other: old or new, whole.
What was begun and never acknowledged counts as "any later one".
"""

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

ABSENT = "absent"
JOURNAL_LINES = 400
"""Of the last operations, shown with the first violation."""


class Safe(IntEnum):
    """The worst crash that cannot take a value back."""

    NOT_YET = 0
    KILL = 1
    POWER = 2


@dataclass(slots=True)
class _State:
    value: str
    safe: Safe = Safe.NOT_YET
    acknowledged: bool = False


@dataclass(frozen=True, slots=True)
class _Move:
    """A rename: its value must not be lost between the two keys."""

    source: str
    target: str
    value: str
    at: tuple[int, int]
    """Which states of the two keys it has made."""


@dataclass(frozen=True)
class Allowed:
    """What may be found after a crash at one moment."""

    values: Mapping[str, frozenset[str]]
    moves: tuple[_Move, ...] = field(repr=False)
    checked: int = 0
    """How many of the keys may have one value only."""

    def complaints(self, found: Mapping[str, str]) -> Iterator[str]:
        """`found` holds what is there; what it does not hold is absent."""
        for key in sorted({*self.values, *found}):
            value, allowed = found.get(key, ABSENT), self.values.get(key, frozenset({ABSENT}))
            if value not in allowed:
                yield f"{key} is {value}, and should be {' or '.join(sorted(allowed))}"
        for move in self.moves:
            if move.value not in (found.get(move.source, ABSENT), found.get(move.target, ABSENT)):
                yield f"{move.value} was lost between {move.source} and {move.target}"


class Book:
    """Written by the programs' threads. `settle` starts it anew with what a crash has left."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: dict[str, list[_State]] = {}
        self._moves: list[_Move] = []
        self._began = time.monotonic()
        self._journal: deque[str] = deque(maxlen=JOURNAL_LINES)
        self.acknowledged = 0

    # What the programs do

    def begin(self, changes: Mapping[str, str], *moves: tuple[str, str]) -> dict[str, int]:
        """Before the system call: what it leads to. `moves` are pairs of keys (source, target) of a rename.
        Returns what `acknowledge` takes."""
        with self._lock:
            before = {source: self._states(source)[-1] for source, _ in moves}
            at = {}
            for key, value in changes.items():
                states = self._states(key)
                states.append(_State(value))
                at[key] = len(states) - 1
            for source, target in moves:
                if before[source].safe is not Safe.NOT_YET:
                    moved = _Move(source, target, before[source].value, (at[source], at[target]))
                    self._moves.append(moved)
            return at

    def acknowledge(self, at: Mapping[str, int], safe: Safe) -> None:
        with self._lock:
            self.acknowledged += 1
            for key, index in at.items():
                state = self._keys[key][index]
                state.acknowledged, state.safe = True, max(state.safe, safe)

    def acknowledged_below(self, directory: str) -> dict[str, int]:
        """Before an fsync of a directory: what it will make safe."""
        prefix = f"{directory}/" if directory else ""
        with self._lock:
            last = {
                key: max((i for i, state in enumerate(states) if state.acknowledged), default=-1)
                for key, states in self._keys.items()
                if key.startswith(prefix) and not key.startswith(".")
            }
        return {key: index for key, index in last.items() if index >= 0}

    def note(self, text: str) -> None:
        """A line of the journal."""
        self._journal.append(f"{time.monotonic() - self._began:9.4f} {text}")

    # What they know

    def value(self, key: str) -> str:
        """The last one, acknowledged or not."""
        with self._lock:
            return self._keys[key][-1].value if key in self._keys else ABSENT

    def keys(self, prefix: str) -> dict[str, str]:
        """What is there, by the last value of each key."""
        with self._lock:
            return {
                key: states[-1].value
                for key, states in self._keys.items()
                if key.startswith(prefix) and states[-1].value != ABSENT
            }

    def journal(self) -> list[str]:
        return list(self._journal)

    # A crash

    def safe_now(self, crash: Safe) -> dict[str, int]:
        """Just before a crash can come: of each key the last value that is safe from it."""
        with self._lock:
            return {key: _last_safe(states, crash) for key, states in self._keys.items()}

    def allowed(self, safe: Mapping[str, int], crash: Safe) -> Allowed:
        """Just after it: `safe` is what was so before. What was begun meanwhile may have come about."""
        with self._lock:
            values = {
                key: frozenset(state.value for state in states[safe.get(key, 0) :])
                for key, states in self._keys.items()
            }
            moves = tuple(move for move in self._moves if self._is_last(move, crash))
        return Allowed(values, moves, sum(len(allowed) == 1 for allowed in values.values()))

    def settle(self, found: Mapping[str, str]) -> None:
        """What was found is how it goes on."""
        with self._lock:
            self._moves.clear()
            keys: Iterable[str] = {*self._keys, *found}
            self._keys = {key: [_State(found.get(key, ABSENT), Safe.POWER, True)] for key in keys}

    def _is_last(self, move: _Move, crash: Safe) -> bool:
        """Whether nothing has happened to the keys since, and the value was safe before."""
        source, target = self._keys[move.source], self._keys[move.target]
        is_last = move.at == (len(source) - 1, len(target) - 1)
        return is_last and source[move.at[0] - 1].safe >= crash

    def _states(self, key: str) -> list[_State]:
        return self._keys.setdefault(key, [_State(ABSENT, Safe.POWER, True)])


def _last_safe(states: list[_State], crash: Safe) -> int:
    return max(index for index, state in enumerate(states) if state.safe >= crash)
