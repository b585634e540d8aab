"""Who is asked for what a share at work on a span does not bring as it should. Pure.

1. It has stalled: anybody.
2. It is so slow on the whole that others would have the rest much sooner: these.
3. It pauses between two bursts, as is its way, and a reader waits: those who would have the rest much sooner
   than it goes on.
"""

from collections.abc import Sequence

from blobfs.shares.choice import SLOW_FACTOR, Urgency, is_slow
from blobfs.sync.loading.fetch import Runner
from blobfs.sync.peer import Peer

LOOK_AGAIN = 0.25
"""Seconds between two looks at whether another share would be better."""


def next_look(runner: Runner, now: float) -> float:
    """When it may have come to be worse than others."""
    turns = runner.due(), runner.stalled_at(now)
    # A share that is silent and that nobody could take over from yet is looked at again and again.
    return min([now + LOOK_AGAIN, *(turn for turn in turns if turn > now)])


def better_ones(
    runner: Runner, others: Sequence[Peer], left: int, urgency: Urgency, now: float
) -> tuple[Peer, ...]:
    """Those of the others that are worth asking for the bytes that are left."""
    if runner.has_stalled(now):
        return tuple(others)
    # No share of a later group is a relief, whatever its speed.
    group = runner.peer.share.options.group
    peers = [peer for peer in others if peer.share.options.group <= group]
    sooner = tuple(peer for peer in peers if _is_much_faster(peer, runner, left, now))
    if sooner or urgency is not Urgency.READER or not runner.is_overdue(now):
        return sooner
    gap_left = runner.gap_left(now)
    return tuple(peer for peer in peers if SLOW_FACTOR * peer.view(1).seconds(left) < gap_left)


def _is_much_faster(peer: Peer, runner: Runner, left: int, now: float) -> bool:
    return runner.begun is not None and is_slow(now - runner.begun, runner.kept, left, peer.view(1))
