"""The campaign: several runs side by side, each a process with stores, seeds and threads of its own.

Processes, because a program that is started while a thread of the same process has a file open keeps a copy
of its descriptor for a moment: the close would not be the last one, and what is "closed" would not be known.
"""

import logging
import multiprocessing
import queue
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from multiprocessing.queues import Queue
from pathlib import Path

from tools.crashing.images import run_images
from tools.crashing.kills import Report, run_kills
from tools.crashing.totals import Totals

PROGRESS_SECONDS = 5.0
ENDING_SECONDS = 60.0

Run = Callable[[Path, str, int, float, Report], Totals]


@dataclass(frozen=True, slots=True)
class Extent:
    """How much of it."""

    kills: int
    images: int
    seed: int
    minutes: float
    parallel: int = 2


def run_campaign(directory: Path, extent: Extent) -> Totals:
    """Kills first, then power cuts. Prints how it goes. `directory` keeps what is left of what failed."""
    print(f"seed {extent.seed}", flush=True)
    end = time.monotonic() + extent.minutes * 60
    totals = Totals()
    for what, run, count in (("kills", run_kills, extent.kills), ("images", run_images, extent.images)):
        if count and not totals.violations:
            totals.add(_side_by_side(directory / what, run, count, extent, end, totals))
    print(totals.summary(), flush=True)
    for violation in totals.violations:
        print(f"VIOLATION {violation}", flush=True)
    if not totals.violations and (totals.kills < extent.kills or totals.images < extent.images):
        print("the time was over before all was done", flush=True)
    return totals


def _side_by_side(
    directory: Path, run: Run, count: int, extent: Extent, end: float, before: Totals
) -> Totals:
    context = multiprocessing.get_context("spawn")
    messages: Queue[tuple[int, Totals, bool]] = context.Queue()
    shares = [count // extent.parallel + (n < count % extent.parallel) for n in range(extent.parallel)]
    processes = [
        context.Process(
            target=_run, args=(messages, n, run, directory / str(n), f"{extent.seed}:{n}", share, end)
        )
        for n, share in enumerate(shares)
        if share
    ]
    for process in processes:
        process.start()
    latest: dict[int, Totals] = {}
    running = set(range(len(processes)))
    next_line = time.monotonic() + PROGRESS_SECONDS
    began = end - extent.minutes * 60
    while running:
        try:
            number, totals, is_over = messages.get(timeout=PROGRESS_SECONDS)
        except queue.Empty:
            for number in [n for n in running if not processes[n].is_alive()]:
                latest.setdefault(number, Totals()).violations.append(f"run {number} came to no end")
                running.discard(number)
            continue
        latest[number] = totals
        running -= {number} if is_over else set()
        if time.monotonic() >= next_line or not running:
            next_line = time.monotonic() + PROGRESS_SECONDS
            print(_sum([before, *latest.values()]).line(time.monotonic() - began), flush=True)
    for process in processes:
        process.join(ENDING_SECONDS)
    return _sum(list(latest.values()))


def _run(
    messages: "Queue[tuple[int, Totals, bool]]",
    number: int,
    run: Run,
    directory: Path,
    seed: str,
    count: int,
    end: float,
) -> None:
    """In a process of its own. A message: which run, its totals so far, and whether it has ended."""
    logging.getLogger("blobfs").addHandler(logging.NullHandler())  # what is wrong becomes a complaint
    totals = run(directory, seed, count, end, lambda so_far: messages.put((number, deepcopy(so_far), False)))
    messages.put((number, totals, True))


def _sum(all_totals: list[Totals]) -> Totals:
    summed = Totals()
    for totals in all_totals:
        summed.add(totals)
    return summed
