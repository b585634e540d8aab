"""All workloads, in the order of the report."""

from collections.abc import Callable
from dataclasses import dataclass

from tools.comparing.comparison import Comparison
from tools.comparing.results import Result
from tools.comparing.workloads.idle import idle
from tools.comparing.workloads.other_calls import other_calls
from tools.comparing.workloads.parallel import parallel
from tools.comparing.workloads.programs import programs
from tools.comparing.workloads.random_reads import random_reads
from tools.comparing.workloads.sequential import sequential
from tools.comparing.workloads.serving import serving
from tools.comparing.workloads.small_files import small_files
from tools.comparing.workloads.swarm import swarm
from tools.comparing.workloads.trips import trips
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
        Workload("calls", "512 MiB through calls other than read", other_calls, 6 * GIB),
        Workload("parallel", "many readers at once: of one 256 MiB, of 8 MiB each", parallel, 8 * GIB),
        Workload(
            "programs", "Python from its library, grep -r over it, a 1 GiB model by mmap", programs, 12 * GIB
        ),
        Workload("serving", "the share side: to one client and to sixteen", serving),
        Workload("swarm", "eight nodes want 256 MiB of a ninth at once, and share in turn", swarm, 6 * GIB),
        Workload("idle", "a daemon that nobody asks for anything", idle, 14 * GIB),
        Workload("trips", "FUSE round trips that somebody waits for, for one operation", trips, GIB),
    )
}
