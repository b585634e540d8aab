"""The short form of the campaign: some kills, some power cuts (`tools/crash` has more)."""

import time
from pathlib import Path

import pytest

from tools.crashing.images import run_images
from tools.crashing.kills import run_kills
from tools.crashing.totals import Totals

SECONDS = 60.0
"""Far more than it takes."""


def ignore(_: Totals) -> None:
    """Nobody looks at the progress."""


@pytest.mark.timeout(90)
def test_killed_at_random_moments(tmp_path: Path):
    """P2, P9, P10: what was acknowledged is there after a SIGKILL and a start, byte for byte and for another
    node too, nothing else is, and nothing is half-done."""
    totals = run_kills(tmp_path, "short", 6, time.monotonic() + SECONDS, ignore)
    assert totals.violations == []
    assert totals.kills >= 6
    assert totals.checked > 100


@pytest.mark.timeout(90)
def test_the_power_fails_at_random_moments(tmp_path: Path):
    """P2: what was acknowledged is on a disk whose power fails in the midst of the work; what was renamed and
    not synced has one of its names."""
    totals = run_images(tmp_path, "short", 2, time.monotonic() + SECONDS, ignore)
    assert totals.violations == []
    assert totals.images == 2
    assert totals.checked > 10
