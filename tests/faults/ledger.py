"""The campaign's books: what came of the loads, what failed, how it goes. Written by many threads."""

import threading
import time
from collections import Counter

from tests.faults.judging import Result
from tests.faults.orders import Order

PROGRESS_SECONDS = 5.0
MANY = 25
"""Failures after which the campaign ends: the rest would say the same."""


class Ledger:
    """Counts loads and prints failures as they come."""

    def __init__(self, seed: int, goal: int) -> None:
        self.seed = seed
        self.goal = goal
        self.done = 0
        self.compared = 0
        self.failures: list[str] = []
        self.words: Counter[tuple[str, str]] = Counter()
        self.beside_right: Counter[str] = Counter()
        """Of loads while one share was as it should be all along. A figure: what P5 costs."""
        self.slowest: Counter[str] = Counter()
        """Seconds of the slowest call of a load, in classes."""
        self.began = time.monotonic()
        self._lock = threading.Lock()
        self._next_line = self.began + PROGRESS_SECONDS

    @property
    def is_over(self) -> bool:
        return len(self.failures) >= MANY

    def enter(self, order: Order, result: Result, *, beside_right: bool) -> None:
        with self._lock:
            self.beside_right.update([result.word] if beside_right else [])
            self.done += 1
            self.compared += result.compared
            self.words["by id" if order.by_id else "by name", result.word] += 1
            self.slowest[_class_of(result.slowest)] += 1

    def fail(self, what: str) -> None:
        with self._lock:
            self.failures.append(what)
            print(f"FAILED {what}", flush=True)

    def fail_load(self, order: Order, phase: int, what: str, evidence: str = "") -> None:
        extra = [f"signal {order.signal}"] if order.signal else []
        extra += ["O_NONBLOCK"] if order.nonblock else []
        self.fail(
            f"load {order.number}: {what}\n"
            f"  {order.how} of {order.path} (blob {order.blob[:16]}, {order.size} bytes), {order.length} "
            f"from {order.offset}, {', '.join([f'blocks of {order.block}', *extra])}\n"
            f"{evidence}  again: tools/faults --seed {self.seed} --again {order.number}:{phase}"
        )

    def tick(self, phase: str) -> None:
        """A line of progress, now and then."""
        with self._lock:
            if (now := time.monotonic()) < self._next_line:
                return
            self._next_line = now + PROGRESS_SECONDS
        print(self.progress(phase), flush=True)

    def progress(self, phase: str) -> str:
        seconds = time.monotonic() - self.began
        errors = sum(count for (_, word), count in self.words.items() if word != "right")
        return (
            f"{seconds:5.0f} s  {self.done}/{self.goal} loads ({self.done / max(seconds, 0.1):.1f}/s), "
            f"{self.compared >> 20} MiB compared, {errors} errors, {len(self.failures)} failures  [{phase}]"
        )

    def summary(self) -> str:
        rows = [f"  {count:>7}  {how:<8} {word}" for (how, word), count in sorted(self.words.items())]
        slow = ", ".join(f"{name}: {self.slowest[name]}" for name in _CLASSES)
        beside = ", ".join(f"{word}: {count}" for word, count in sorted(self.beside_right.items()))
        return "\n".join(
            [
                "loads came to:",
                *rows,
                f"slowest call of each load: {slow}",
                f"while one share of three was right: {beside or 'none'}",
            ]
        )


_CLASSES = ("< 0.1 s", "< 1 s", "< 3 s", "< 6 s", "more")
_BOUNDS = (0.1, 1, 3, 6)


def _class_of(seconds: float) -> str:
    return next((name for name, bound in zip(_CLASSES, _BOUNDS, strict=False) if seconds < bound), "more")
