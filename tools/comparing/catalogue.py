"""All workloads, in the order of the report."""

from collections.abc import Callable
from dataclasses import dataclass

from tools.comparing.comparison import Comparison
from tools.comparing.results import Result
from tools.comparing.workloads.sequential import sequential

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Workload:
    """One thing that people do with files."""

    name: str
    title: str
    """One line for the report."""
    measure: Callable[[Comparison], list[Result]]
    disk: int = 4 * GIB
    """Bytes that must be free."""


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("sequential", "1 GiB from its beginning to its end, 1 MiB at a time", sequential, 12 * GIB),
    )
}
