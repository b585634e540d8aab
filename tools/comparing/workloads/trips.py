"""FUSE round trips that somebody waits for, of one operation, as `tools/bench-counts` counts them."""

from tools.comparing.comparison import Comparison
from tools.comparing.results import Result
from tools.counting.__main__ import count_all, there
from tools.counting.counted import Counted

NAME = "trips"
CALLED = {
    ("open + read + close, 4 KiB", "warm"): "small file, warm",
    ("open + read + close, 4 KiB", "missing"): "small file, missing",
    ("stat", "after ls"): "stat after ls",
}
"""What others call the cases that goals are set for."""


def trips(comparison: Comparison) -> list[Result]:
    """Counted once: it does not depend on what else the machine does."""
    only = frozenset(CALLED) if comparison.quick else None
    found = count_all(comparison.bench, there(), with_calls=False, only=only)
    return [
        Result(NAME, _case(each), each.peer, "requests", (each.waited_for,), each.failure) for each in found
    ]


def _case(each: Counted) -> str:
    return CALLED.get(each.key, ", ".join(filter(None, each.key)))
