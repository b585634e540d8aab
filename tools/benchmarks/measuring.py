"""Runs that alternate, and what is said about them: medians, and ratios pair by pair.

A machine's speed drifts, and others work on it as well. So the ways that are compared take turns (A B C
A B C), a ratio is taken within each turn, and the median of the ratios is what is shown.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence

from tools.benchmarks.report import shown

Figures = dict[str, float]
"""What one run found, by name. `SECONDS` is always there where runs are compared."""
Runs = dict[str, list[Figures]]
"""What all runs found, by the way they went."""

SECONDS = "seconds"


def alternate(runs: int, ways: Mapping[str, Callable[[], Figures]]) -> Runs:
    """Every way `runs` times, in turns."""
    found: Runs = {way: [] for way in ways}
    for _ in range(runs):
        for way, once in ways.items():
            found[way].append(once())
    return found


def median(found: Sequence[Figures], name: str = SECONDS) -> float:
    return statistics.median(figures[name] for figures in found)


def spread(found: Sequence[Figures], name: str = SECONDS) -> str:
    """The least and the most, for people."""
    values = [figures[name] for figures in found]
    return f"{shown(min(values))}–{shown(max(values))}"


def ratio(above: Sequence[Figures], below: Sequence[Figures], name: str = SECONDS) -> float:
    """The median over the turns of above/below."""
    return statistics.median(a[name] / b[name] for a, b in zip(above, below, strict=True))


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
