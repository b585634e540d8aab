"""Every operation of every scenario fails, in every way: the runs, and the table of what they ended in."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.disk_faults.plan import Fault, Operation, Plan
from tests.disk_faults.run import Outcome, Run
from tests.disk_faults.scenarios import SCENARIOS

MEMORY = Path("/dev/shm")
"""A file system in memory, with extended attributes (Linux 6.6): there a run takes some 30 ms."""


@dataclass
class Row:
    """One scenario and one kind of failure. Mutable: counts."""

    scenario: str
    fault: Fault
    lasting: bool
    points: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    tries: int = 0

    def note(self, outcome: Outcome) -> None:
        """Counts it, unless nothing was refused: then it was no point."""
        if not outcome.hits:
            return
        self.points += 1
        self.ended[outcome.ended] += 1
        self.tries = max(self.tries, outcome.tries)

    def __str__(self) -> str:
        ended = ", ".join(f"{word} {count}" for word, count in sorted(self.ended.items(), reverse=True))
        kind = f"{self.fault.name} {'lasts' if self.lasting else 'once'}"
        return f"{self.scenario:<12} {kind:<13} {self.points:>5}  {self.tries:>5}  {ended}"


HEADER = f"{'scenario':<12} {'fault':<13} {'points':>5}  {'tries':>5}  ended in"


@dataclass
class Report:
    """Mutable: a row for each kind of run, and what was wrong, in words."""

    rows: list[Row] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def points(self) -> int:
        return sum(row.points for row in self.rows)


def run_campaign(
    faults: Sequence[Fault] = tuple(Fault),
    every: int = 1,
    scenarios: Sequence[str] = tuple(SCENARIOS),
    told: Callable[[object], None] = lambda row: None,
) -> Report:
    """Each `every`-th point; which of them differs from one kind of failure to the next."""
    report = Report()
    shift = 0
    with fast_directory() as directory:
        for scenario in scenarios:
            dry = Run(directory, SCENARIOS[scenario], None).run()
            report.wrong += [f"{scenario}, nothing fails: {wrong}" for wrong in dry.wrong]
            for fault in faults:
                for lasting in (False, True):
                    row = Row(scenario, fault, lasting)
                    shift += 1
                    for plan in _plans(fault, lasting, dry.made, every, shift):
                        _run_both(directory, row, plan, dry.made, report)
                    report.rows.append(row)
                    told(row)
    return report


def _plans(fault: Fault, lasting: bool, made: Sequence[Operation], every: int, shift: int) -> Iterator[Plan]:
    count = sum(map(fault.concerns, made))
    for at in range(1 + shift % every, count + 1, every):
        yield Plan(fault, at, lasting)


def _run_both(directory: Path, row: Row, plan: Plan, made: Sequence[Operation], report: Report) -> None:
    hit = [operation for operation in made if plan.fault.concerns(operation)][plan.at - 1]
    for again in (True, False):
        outcome = Run(directory, SCENARIOS[row.scenario], plan, again=again).run()
        if again:
            row.note(outcome)
        end = "asked again" if again else "ended well"
        report.wrong += [f"{row.scenario}, {plan} ({hit}), {end}: {wrong}" for wrong in outcome.wrong]


@contextmanager
def fast_directory() -> Iterator[Path]:
    """A place for the runs, gone at the end."""
    directory = Path(tempfile.mkdtemp(prefix="blobfs-disk-faults-", dir=_fast_place()))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def _fast_place() -> Path | None:
    """None is where temporary files usually are."""
    return MEMORY if MEMORY.is_dir() and _has_attributes(MEMORY) else None


def _has_attributes(directory: Path) -> bool:
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        try:
            os.setxattr(file.fileno(), "user.blobfs.probe", b"1")
        except OSError:
            return False
    return True
