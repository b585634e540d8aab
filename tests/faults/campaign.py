"""The campaign: one store's life after the other, until there were enough loads."""

import itertools
import random
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from tests.faults.ledger import Ledger
from tests.faults.life import Life
from tests.faults.orders import Orders
from tests.faults.phases import plan_phase
from tests.faults.source import build_source
from tests.faults.weather import Weather

AGAIN = 5
"""How often one load is tried again, each time with a fresh store."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How much of it."""

    loads: int = 10_000
    seed: int = 0
    minutes: float = 12.0
    blobs: int = 1500
    warm: int = 40
    life: int = 1200
    """Loads of one store, the warm-up not counted."""
    without: str = ""
    """Letters of faults that are left out: what is known to be wrong hides what is not."""
    again: tuple[int, int] | None = None
    """This load, in this phase, and nothing else."""


def run_campaign(directory: Path, extent: Extent) -> Ledger:
    """Prints how it goes. `directory` keeps what is left of lives that failed."""
    ledger = Ledger(extent.seed, extent.loads)
    print(f"seed {extent.seed}: {extent.blobs} blobs", flush=True)
    source, entries = build_source(directory, extent.seed, extent.blobs)
    orders = Orders(extent.seed, entries, extent.life + extent.warm)
    end = time.monotonic() + extent.minutes * 60
    with Weather(source, directory, extent.seed, extent.without) as weather:
        for number in itertools.count():
            if _is_over(ledger, extent, number) or time.monotonic() > end:
                break
            life = Life(number, directory, source, orders, weather, ledger)
            failures = len(ledger.failures)
            try:
                _live(life, extent, number, weather, ledger)
            except Exception as error:
                ledger.fail(f"life {number}: {type(error).__name__}: {error}")
            if len(ledger.failures) == failures:
                shutil.rmtree(life.node.store)
    if ledger.done < extent.loads and extent.again is None:
        ledger.fail(f"only {ledger.done} of {extent.loads} loads")
    print(ledger.summary(), flush=True)
    return ledger


def _is_over(ledger: Ledger, extent: Extent, number: int) -> bool:
    if extent.again is not None:
        return number >= AGAIN
    return ledger.is_over or ledger.done >= extent.loads


def _live(life: Life, extent: Extent, number: int, weather: Weather, ledger: Ledger) -> None:
    if extent.again is not None:
        load, phase = extent.again
        weather.fixed = plan_phase(extent.seed, phase, extent.without) if phase >= 0 else None
        life.run(iter([load]), warm=0, loads=1)
        return
    numbers = itertools.count(number * (extent.life + extent.warm))
    count = min(extent.life, extent.loads - ledger.done)
    killed_after = 0
    if random.Random(f"{extent.seed}:kill:{number}").random() < 0.5:
        killed_after = count // 3
    life.run(numbers, warm=extent.warm, loads=count - killed_after, killed_after=killed_after)
