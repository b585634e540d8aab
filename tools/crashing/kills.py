"""SIGKILL at random moments: work, a kill, a look at what is left, a start, a look at what is there.

A node lives for some kills on one store, is ended in order, and the next one begins with an empty store.
"""

import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tools.crashing.book import Book, Safe
from tools.crashing.crash_node import CrashNode, far_share
from tools.crashing.crew import Crew
from tools.crashing.judging import (
    Complaint,
    enter,
    judge_exported,
    judge_found,
    judge_from_elsewhere,
    judge_leftovers,
    judge_log,
    judge_rest,
)
from tools.crashing.program import Unexpected, failed_at
from tools.crashing.soundness import Soundness
from tools.crashing.totals import Totals

LIFE = 25
"""Kills of one store."""
BURST_SECONDS = 0.4
"""A kill comes within that time after the mount is ready, or..."""
AHEAD = 60
"""... within so many operations, ..."""
AFTER_SECONDS = 0.03
"""... and so long after one was begun."""
START_SECONDS = 0.9
"""A start takes that long, about: it may be killed anywhere."""
KILLED_STARTS = 0.1
"""How many of the starts are killed."""
OTHER_NODE_EVERY = 10

Report = Callable[[Totals], None]


class _Life:
    """One store, from its making to its end."""

    def __init__(self, directory: Path, seed: str, url: str, far: dict[str, str], totals: Totals) -> None:
        self._directory = directory
        self._totals = totals
        self._seed = seed
        self._chance = random.Random(f"{seed}:life")
        self._book = Book()
        options = [self._chance.choice(("fill=never", "fill=idle"))]
        self._node = CrashNode(directory, directory / "store", shares=[url], options=options)
        self._crew = Crew(self._node.mountpoint, self._book, seed, far)
        self._soundness = Soundness(self._node.store)

    def run(self, kills: int, report: Report) -> bool:
        """Whether all was well."""
        totals = self._totals
        with self._node as node:
            self._crew.prepare()
            for number in range(1, kills + 1):
                self._guarded(f"kill {number}", lambda number=number: self._round(number))  # type: ignore[misc]
                report(totals)
                if totals.violations:
                    break
            else:
                self._guarded("the end", self._end)
            if node.process is not None:  # it may be dead already
                node.kill9()
        return not totals.violations

    def _guarded(self, where: str, step: Callable[[], list[Complaint]]) -> None:
        before = self._book.acknowledged, self._crew.loads, self._soundness.hashed_bytes
        try:
            complaints = step()
        except AssertionError as failure:  # the node did not start, or did not end
            complaints = [("repair", str(failure))]
        except Unexpected as failure:
            complaints = [("other", str(failure))]
        except OSError as failure:  # a look at the mount that failed
            complaints = [("lost", f"{failure!r} at {failed_at(failure)}")]
        self._totals.acknowledged += self._book.acknowledged - before[0]
        self._totals.loads += self._crew.loads - before[1]
        self._totals.hashed_bytes += self._soundness.hashed_bytes - before[2]
        enter(complaints, self._totals, f"seed {self._seed}, {where}", self._book.journal())

    def _round(self, number: int) -> list[Complaint]:
        node, book, totals = self._node, self._book, self._totals
        self._crew.work(self._kill)
        node.kill9()
        totals.kills += 1
        complaints = judge_exported(self._soundness)
        while self._chance.random() < KILLED_STARTS:
            node.kill_while_starting(self._chance.uniform(0, START_SECONDS))
            totals.kills += 1
            totals.starts_killed += 1
            complaints += judge_exported(self._soundness)
        node.start()
        allowed = book.allowed(book.safe_now(Safe.KILL), Safe.KILL)
        found, wrong = judge_found(node, self._crew.packer, allowed, totals)
        complaints += wrong
        book.settle(found)
        complaints += judge_rest(self._soundness)
        if number % OTHER_NODE_EVERY == 0:
            complaints += judge_from_elsewhere(self._directory, node.share, found, totals)
        return complaints

    def _kill(self, is_dying: threading.Event) -> None:
        if self._chance.random() < 0.5:
            time.sleep(self._chance.uniform(0, BURST_SECONDS))
        else:
            self._crew.wait_for_operation(self._chance.randrange(1, AHEAD), BURST_SECONDS)
            time.sleep(self._chance.uniform(0, AFTER_SECONDS))
        is_dying.set()
        self._book.note("--- killed")
        assert self._node.process is not None
        os.kill(self._node.process.pid, signal.SIGKILL)

    def _end(self) -> list[Complaint]:
        """In order, with everything hashed anew."""
        self._node.stop()
        self._soundness.forget()
        complaints = [*judge_exported(self._soundness), *judge_rest(self._soundness)]
        return complaints + judge_leftovers(self._node.store) + judge_log(self._node, self._totals)


def run_kills(directory: Path, seed: str, kills: int, end: float, report: Report) -> Totals:
    """`end` is a time of time.monotonic() after which no life is begun. What failed stays in `directory`."""
    totals = Totals()
    directory.mkdir(parents=True, exist_ok=True)
    with far_share(directory, seed) as (url, far):
        number = 0
        while totals.kills < kills and time.monotonic() < end:
            place = directory / f"life{number}"
            place.mkdir()
            life = _Life(place, f"{seed}:{number}", url, far, totals)
            if not life.run(min(LIFE, kills - totals.kills), report):
                break
            shutil.rmtree(place)
            number += 1
    return totals
