"""What the picture shows: which cases, in which order, and whose bars are how long. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tools.comparing.goals import OURS
from tools.comparing.results import Result

SHOWN: Sequence[tuple[str, str, str]] = (
    ("sequential", "missing", "1 GiB, missing"),
    ("sequential", "here, nothing in memory", "1 GiB, here, nothing in memory"),
    ("sequential", "here, cold", "1 GiB, here, cold"),
    ("sequential", "warm", "1 GiB, warm"),
    ("random", "missing, one", "4 KiB of 1 GiB, missing"),
    ("random", "missing, a hundred", "100 × 4 KiB, missing"),
    ("random", "here, cold", "4 KiB, here, cold"),
    ("random", "warm", "4 KiB, warm"),
    ("small", "missing", "small files, missing"),
    ("small", "missing, 16 readers", "small files, missing, 16 readers"),
    ("small", "here, cold", "small files, here, cold"),
    ("small", "warm", "small files, warm"),
    ("small", "stat after ls", "stat after ls"),
    ("small", "ls -l, cold", "ls -l, a file"),
    ("write", "cp of a big file", "write 1 GiB"),
    ("write", "cp -r of small files", "write 2,000 small files"),
    ("calls", "mmap, cold", "512 MiB by mmap, here, cold"),
    ("calls", "sendfile, cold", "512 MiB by sendfile, here, cold"),
    ("parallel", "one file, missing, 16", "256 MiB missing, 16 readers"),
    ("parallel", "a file each, cold, 16", "16 × 8 MiB, here, cold"),
    ("programs", "python imports its library: missing", "Python's imports, missing"),
    ("programs", "grep -r over its library: here, cold", "grep -r, here, cold"),
    ("programs", "a model by mmap, summed: missing", "a model of 1 GiB by mmap, missing"),
    ("idle", "start to ready", "start to ready"),
)
"""Workload, case, and the title of its panel. Not all cases: a picture with all of them shows nothing."""
TIMES = ("s", "ms", "us")


@dataclass(frozen=True, slots=True)
class Bar:
    peer: str
    value: float

    @property
    def is_ours(self) -> bool:
        return self.peer == OURS


@dataclass(frozen=True, slots=True)
class Panel:
    """One case: a bar for everybody who could do it, the fastest first."""

    title: str
    unit: str
    bars: tuple[Bar, ...]
    failed: tuple[str, ...]
    """Who could not."""


def panels(results: Iterable[Result], shown: Sequence[tuple[str, str, str]] = SHOWN) -> list[Panel]:
    """Those cases of which there are figures of blobfs and of somebody else."""
    known = [result for result in results if result.unit in TIMES]
    found = (
        _panel(title, [result for result in known if (result.workload, result.case) == (workload, case)])
        for workload, case, title in shown
    )
    return [panel for panel in found if len(panel.bars) > 1 and any(bar.is_ours for bar in panel.bars)]


def _panel(title: str, results: Sequence[Result]) -> Panel:
    bars = [Bar(result.peer, result.median) for result in results if result.median is not None]
    failed = tuple(result.peer for result in results if result.median is None)
    unit = results[0].unit if results else ""
    return Panel(title, unit, tuple(sorted(bars, key=lambda bar: bar.value)), failed)
