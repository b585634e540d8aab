"""The value: what one operation, in one state, cost at one peer. All figures are per operation."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.mount.kernel_trace import NOBODY_WAITS

Key = tuple[str, str]
"""Name and state of an operation."""


@dataclass(frozen=True, slots=True)
class SystemCalls:
    """Of the daemon, from a pass of its own under strace."""

    by_name: dict[str, float] = field(default_factory=dict)
    copied: float = 0.0
    """Bytes that crossed into and out of its memory by system calls of the read and write kind."""


@dataclass(frozen=True, slots=True)
class Counted:
    operation: str
    state: str
    peer: str
    delivered: int
    """Bytes that the caller got or gave."""
    requests: dict[str, float]
    """FUSE requests by opcode."""
    sleeps: float
    """How often the caller slept: round trips that it really waited for, and anything else."""
    http: float | None
    received: float | None
    """Bytes of the answers, heads included."""
    hops: float | None
    cpu: float
    """Microseconds, user and system, of the daemon and what it has started, until it was at rest."""
    took: float
    """Microseconds: the median, on the clock."""
    calls: SystemCalls | None = None
    failure: str = ""

    @property
    def key(self) -> Key:
        return self.operation, self.state

    @property
    def waited_for(self) -> float:
        return sum(number for opcode, number in self.requests.items() if opcode not in NOBODY_WAITS)

    @property
    def not_waited_for(self) -> float:
        return sum(self.requests.values()) - self.waited_for

    @property
    def copies(self) -> float | None:
        """How often each byte was copied into or out of the daemon's memory."""
        return self.calls.copied / self.delivered if self.calls and self.delivered else None

    @property
    def call_count(self) -> float | None:
        return sum(self.calls.by_name.values()) if self.calls else None


def save(path: Path, about: dict[str, str], found: list[Counted]) -> None:
    """With three digits after the point: what is finer is noise."""
    document = {"about": about, "counted": _rounded([asdict(each) for each in found])}
    path.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return round(value, 3) if isinstance(value, float) else value


def read(path: Path) -> list[Counted]:
    found = []
    for fields in json.loads(path.read_text("utf-8"))["counted"]:
        calls = fields.pop("calls")
        found.append(Counted(calls=SystemCalls(**calls) if calls else None, **fields))
    return found
