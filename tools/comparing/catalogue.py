"""All workloads, in the order of the report."""

from collections.abc import Callable
from dataclasses import dataclass

from tools.comparing.comparison import Comparison
from tools.comparing.results import Result
from tools.comparing.workloads.other_calls import other_calls
from tools.comparing.workloads.parallel import parallel
from tools.comparing.workloads.random_reads import random_reads
from tools.comparing.workloads.sequential import sequential
from tools.comparing.workloads.small_files import small_files
from tools.comparing.workloads.writing import writing

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
        Workload("random", "4 KiB anywhere in 1 GiB", random_reads, 10 * GIB),
        Workload("small", "2,000 files of 4 KiB in one directory; the figures are for one", small_files),
        Workload("write", "1 GiB, and 2,000 files of 4 KiB, written", writing, 8 * GIB),
        Workload("calls", "1 GiB through calls other than read", other_calls, 12 * GIB),
        Workload("parallel", "many readers at once: of one 256 MiB, of 16 MiB each", parallel, 12 * GIB),
    )
}
