"""Which share to ask next, and for how much. Pure functions of what is known of the shares.

1. Shares that answer go before those that may be back, and these before those that are down. A share that
   once sent wrong bytes is the last resort.
2. Among those, a lower group goes before a higher one.
3. Among those, the one that is expected to have delivered first, counting what it was given already. If it is
   busy, waiting for it is better than asking a slower one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from blobfs.shares.estimates import FIRST_LATENCY, FIRST_RATE
from blobfs.shares.health import Circuit

SPAN_SECONDS = 0.25
"""How long one request should take: long enough to make the round trip cheap, short enough to spread well."""
FIRST_SPAN = 2**20
"""Bytes asked of a share whose rate is not known: enough to measure it, little to wait for if it is slow."""
SLOW_FACTOR = 4
"""So many times longer than another share would need makes a request too slow."""
SLOW_FROM = 0.5
"""Seconds below which no request is too slow: what it would gain is less than what moving it costs."""


class Urgency(IntEnum):
    """Who wants the bytes; the smaller goes first."""

    READER = 0
    AHEAD = 1
    FILL = 2


@dataclass(frozen=True, slots=True)
class ShareView:
    """What the choice knows of one share."""

    circuit: Circuit = Circuit.CLOSED
    group: int = 1
    is_struck: bool = False
    in_flight: int = 0
    """Requests for bytes that it was given and has not ended."""
    room: int = 1
    """How many more it may be given now."""
    latency: float = FIRST_LATENCY
    rate: float | None = None
    """Bytes a second of one body; None is not known, or not any more."""

    def seconds(self, length: int, rate: float = FIRST_RATE) -> float:
        """Until it has delivered so many bytes more; `rate` is believed if its own is not known."""
        return self.latency + (self.in_flight + 1) * length / (self.rate or rate)


_TIER = {Circuit.CLOSED: 0, Circuit.HALF_OPEN: 1, Circuit.OPEN: 2}
_STRUCK = 3


def choose(views: Sequence[ShareView], length: int, urgency: Urgency) -> int | None:
    """The index of the share to ask for `length` bytes; None: wait until one has room.

    A share that may be back is tried by a request that nobody waits for, if there is one.
    """
    best = min((rank(view) for view in views), default=None)
    if best is not None and urgency is not Urgency.READER:
        for index, view in enumerate(views):
            if view.group <= best[1] and _may_be_back(view):
                return index
    fitting = [index for index, view in enumerate(views) if rank(view) == best]
    # What is not known yet is worth a try: it may be as good as the best.
    best_rate = max((views[index].rate or 0.0 for index in fitting), default=0.0) or FIRST_RATE
    chosen = min(fitting, key=lambda index: views[index].seconds(length, best_rate), default=None)
    return chosen if chosen is not None and views[chosen].room > 0 else None


def rank(view: ShareView) -> tuple[int, int]:
    """Rules 1 and 2: smaller is better."""
    return _STRUCK if view.is_struck else _TIER[view.circuit], view.group


def _may_be_back(view: ShareView) -> bool:
    is_idle = view.in_flight == 0 and view.room > 0
    return is_idle and view.circuit is Circuit.HALF_OPEN and not view.is_struck


def choose_other(views: Sequence[ShareView], length: int, *, may_be_back: bool = False) -> int | None:
    """As `choose`, for what another share does not bring: one that is up and free, or none.

    `may_be_back`: where nobody is, one that might be will do, as nothing is taken from who is at work.
    """
    fitting = [
        index
        for index, view in enumerate(views)
        if view.room > 0 and view.circuit is Circuit.CLOSED and not view.is_struck
    ]
    if not fitting and may_be_back:
        fitting = [index for index, view in enumerate(views) if _may_be_back(view)]
    return min(fitting, key=lambda index: (views[index].group, views[index].seconds(length)), default=None)


def span_length(view: ShareView, least: int, most: int) -> int:
    """How many bytes to ask of a share in one request: what it sends in a quarter of a second."""
    length = FIRST_SPAN if view.rate is None else view.rate * SPAN_SECONDS
    return int(min(max(length, least), most))


def is_slow(elapsed: float, received: int, left: int, other: ShareView) -> bool:
    """Whether `other` would have what is left of a request much sooner than the share that is sending it."""
    if elapsed < SLOW_FROM:
        return False
    expected = left * elapsed / received if received else float("inf")
    return expected > SLOW_FROM + SLOW_FACTOR * other.seconds(left)
