"""The power fails at random moments: copies of the disk below a store in use, each started and looked at.

While the programs work, copies are made (`tools.crashing.disks`): each is what a power cut at that instant
leaves. Of what was acknowledged before a copy began, all that is safe from a power cut must be in it; what
was begun before it ended may be.
"""

import random
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.crashing.book import Allowed, Book, Safe
from tools.crashing.crash_node import CrashNode, far_share
from tools.crashing.crew import Crew
from tools.crashing.disks import MKFS, Disk, copying_disk
from tools.crashing.judging import (
    Complaint,
    enter,
    judge_exported,
    judge_found,
    judge_from_elsewhere,
    judge_log,
    judge_rest,
)
from tools.crashing.kills import OTHER_NODE_EVERY, Report
from tools.crashing.program import Unexpected, failed_at
from tools.crashing.soundness import Soundness
from tools.crashing.totals import Totals

LIFE = 24
"""Copies of one disk."""
COPIES = 4
"""In one burst of work."""
BURST_SECONDS = 1.6


@dataclass(frozen=True)
class _Copy:
    """A disk as it was at one instant, and what must and may be on it."""

    disk: Disk
    allowed: Allowed
    made: Mapping[str, object]
    journal: list[str]


class _Life:
    """One disk with a store that is in use, and its copies."""

    def __init__(
        self, directory: Path, outer: Path, seed: str, url: str, far: dict[str, str], totals: Totals
    ) -> None:
        self._directory = directory
        self._outer = outer
        self._seed = seed
        self._url = url
        self._totals = totals
        self._chance = random.Random(f"{seed}:life")
        self._book = Book()
        self._disk = Disk(outer / "disk.img", self._chance.choice(list(MKFS)))
        self._disk.make()
        self._place = directory / "disk"
        self._node = CrashNode(directory, self._place / "store", shares=[url])
        self._crew = Crew(self._node.mountpoint, self._book, seed, far)

    def run(self, count: int, report: Report) -> None:
        """So many copies, each looked at after the burst in which it was made."""
        with self._disk.mounted(self._place), self._node as node:
            self._crew.prepare()
            made = 0
            while made < count and not self._totals.violations:
                node.prolong()
                copies = self._burst(min(COPIES, count - made))
                made += len(copies)
                for copy in copies:
                    self._guarded(copy)
                    report(self._totals)
        self._disk.remove()

    def _burst(self, count: int) -> list[_Copy]:
        copies: list[_Copy] = []

        def make_copies(_: threading.Event) -> None:
            moments = sorted(self._chance.uniform(0, BURST_SECONDS) for _ in range(count))
            began = time.monotonic()
            for moment in moments:
                time.sleep(max(0.0, began + moment - time.monotonic()))
                copies.append(self._copy())

        acknowledged, loads = self._book.acknowledged, self._crew.loads
        self._crew.work(make_copies)
        self._totals.acknowledged += self._book.acknowledged - acknowledged
        self._totals.loads += self._crew.loads - loads
        return copies

    def _copy(self) -> _Copy:
        safe = self._book.safe_now(Safe.POWER)
        disk = self._disk.clone(self._outer / f"copy-{self._totals.images}-{time.monotonic_ns()}.img")
        allowed = self._book.allowed(safe, Safe.POWER)
        self._book.note("--- copied")
        return _Copy(disk, allowed, dict(self._crew.packer.made), self._book.journal())

    def _guarded(self, copy: _Copy) -> None:
        self._totals.images += 1
        untouched = copy.disk.clone(copy.disk.image.with_suffix(".untouched"))
        try:
            complaints = self._judge(copy)
        except AssertionError as failure:  # the node did not start, or did not end
            complaints = [("repair", str(failure))]
        except Unexpected as failure:
            complaints = [("other", str(failure))]
        except OSError as failure:  # a look at the mount that failed
            complaints = [("lost", f"{failure!r} at {failed_at(failure)}")]
        if complaints:
            shutil.copy(untouched.image, self._directory / "violation.img")
        untouched.remove()
        copy.disk.remove()
        where = f"seed {self._seed}, image {self._totals.images} ({copy.disk.kind})"
        enter(complaints, self._totals, where, copy.journal)

    def _judge(self, copy: _Copy) -> list[Complaint]:
        totals = self._totals
        place = self._directory / "image"
        with copy.disk.mounted(place):
            pass  # the journal is replayed
        complaints = [("other", f"fsck: {said}")] if (said := copy.disk.check()) else []
        with copy.disk.mounted(place):
            soundness = Soundness(place / "store")
            complaints += judge_exported(soundness, trees=False)
            node = CrashNode(self._directory, place / "store", f"image{totals.images}", shares=[self._url])
            with node:
                found, wrong = judge_found(node, self._crew.packer, copy.allowed, totals)
                complaints += wrong + judge_rest(soundness)
                if totals.images % OTHER_NODE_EVERY == 0:
                    complaints += judge_from_elsewhere(self._directory, node.share, found, totals)
            complaints += judge_exported(soundness) + judge_log(node, totals)
            totals.hashed_bytes += soundness.hashed_bytes
        return complaints


def run_images(directory: Path, seed: str, images: int, end: float, report: Report) -> Totals:
    """`end` is a time of time.monotonic() after which no life is begun. What failed stays in `directory`."""
    totals = Totals()
    directory.mkdir(parents=True, exist_ok=True)
    with far_share(directory, seed) as (url, far), copying_disk(directory) as outer:
        number = 0
        while totals.images < images and time.monotonic() < end and not totals.violations:
            place = directory / f"life{number}"
            place.mkdir()
            try:
                _Life(place, outer, f"{seed}:{number}", url, far, totals).run(
                    min(LIFE, images - totals.images), report
                )
            except (AssertionError, Unexpected, OSError) as failure:
                enter([("other", repr(failure))], totals, f"seed {seed}:{number}", [])
            if not totals.violations:
                shutil.rmtree(place)
            number += 1
    return totals
