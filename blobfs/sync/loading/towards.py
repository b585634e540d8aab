"""Which chunks towards a goal are asked for next, and of whom: in order, as long as all who are asked have
all of the blob; where others are loading it too, in the order in which the nodes fetch most from each other
(`swarm`).
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from blobfs.config.settings import LoadSettings
from blobfs.model import CHUNK_SIZE
from blobfs.shares.choice import Urgency, span_length
from blobfs.shares.health import Circuit
from blobfs.shares.spreading import Chunks, between
from blobfs.store.partial import Partial
from blobfs.sync.loading.chunk_failures import ChunkFailures
from blobfs.sync.loading.dispatch import Dispatcher
from blobfs.sync.loading.goals import Goal
from blobfs.sync.loading.span import Span
from blobfs.sync.loading.swarm import Swarm
from blobfs.sync.loading.window import LEAST_SPAN, runs
from blobfs.sync.peer import Peer


class Asking(Protocol):
    """What is needed of the load (`blobfs.sync.loading.load.Load`)."""

    partial: Partial
    settings: LoadSettings
    dispatcher: Dispatcher
    failures: ChunkFailures
    swarm: Swarm
    spans: list[Span]

    @property
    def is_passing(self) -> bool: ...

    def able_peers(self) -> tuple[Peer, ...]: ...

    def worth_asking(self) -> tuple[Peer, ...]: ...

    def is_wanted(self, chunk: int) -> bool: ...

    def pump(self) -> None: ...

    def active_spans(self) -> int: ...


class Step(NamedTuple):
    """`peer` is None where there is nobody: then the failure of it tells why."""

    first: int
    stop: int
    peer: Peer | None


def next_step(load: Asking, goal: Goal) -> Step | None:
    """None: there is nothing to start now. When it may be worth a try, the load is pumped again."""
    if load.swarm.is_on and not load.is_passing:
        return _spread(load, goal)
    return _in_order(load, goal)


def next_wanted(load: Asking, first: int, stop: int) -> tuple[int, int] | None:
    """The first run of wanted chunks in a range, no longer than one span may be."""
    most = load.settings.span_size // CHUNK_SIZE
    while (start := load.partial.next_absent(first, stop)) >= 0:
        if load.is_wanted(start):
            return next(runs(start, min(start + most, stop), load.is_wanted, most))
        first = next((span.stop for span in load.spans if span.first <= start < span.stop), start + 1)
    return None


def most_fitting(load: Asking, goal: Goal) -> int:
    """Chunks that a reader asks for of his sequence, of whichever share it will be, when other loads keep
    them all busy: with what he reads alone each READ would be a request."""
    peers = load.able_peers()
    return max((_fitting(load.settings, peer, goal, peers) for peer in peers), default=0)


def _in_order(load: Asking, goal: Goal) -> Step | None:
    wanted = next_wanted(load, goal.first, goal.stop)
    if wanted is None:
        return None
    start, end = wanted
    peers = load.able_peers()
    if not peers:
        return Step(start, start + 1, None) if goal.is_awaited else None
    length = (end - start) * CHUNK_SIZE
    urgency = max(goal.urgency, Urgency.AHEAD)
    peer = load.dispatcher.offer(peers, length, urgency, load.settings.spans_per_share)
    if peer is None:
        load.dispatcher.feed_later(load.pump, load.active_spans)
        return None
    fitting = _fitting(load.settings, peer, goal, peers)
    if goal.is_moving and end == goal.stop and end - start < fitting:
        return None  # a little later it is worth a request
    return Step(start, min(end, start + fitting), peer)


def _spread(load: Asking, goal: Goal) -> Step | None:
    wanted, peers = _wanted(load, goal), load.worth_asking()
    if not wanted:
        return None
    if not peers:
        return _in_order(load, goal)  # which says why
    chosen = load.swarm.choose(
        peers,
        wanted,
        max(goal.urgency, Urgency.AHEAD),
        load.settings.spans_per_share,
        lambda peer: _fitting(load.settings, peer, goal, peers),
        goal.first if goal.is_moving else None,
    )
    if chosen is None:
        load.dispatcher.feed_later(load.pump, load.active_spans)
        return None
    return Step(chosen.first, chosen.stop, chosen.peer)


def _wanted(load: Asking, goal: Goal) -> Chunks:
    """What of a goal is neither here, nor coming, nor failing; of one that moves, without its end, which may
    soon be longer."""
    stop = goal.stop - goal.stop % LEAST_SPAN if goal.is_moving else goal.stop
    if stop <= goal.first:
        return 0
    wanted = between(goal.first, stop) & ~load.partial.present_number()
    for span in load.spans:
        wanted &= ~between(span.first, span.stop)
    return wanted & ~load.failures.failing()


def _fitting(settings: LoadSettings, peer: Peer, goal: Goal, peers: Sequence[Peer]) -> int:
    """Chunks to ask of a share in one request; of one that may be down still, just enough to tell."""
    most, at_once = settings.span_size, settings.spans_per_share
    view = peer.view(at_once)
    if view.circuit is not Circuit.CLOSED:
        return LEAST_SPAN
    if goal.is_moving:  # the window is to hold what every share has under way, and some more
        at_once *= sum(1 for peer in peers if not peer.is_down())
        most = min(most, (goal.stop - goal.first) * CHUNK_SIZE * 2 // (3 * at_once))
    return max(span_length(view, LEAST_SPAN * CHUNK_SIZE, most) // CHUNK_SIZE, 1)
