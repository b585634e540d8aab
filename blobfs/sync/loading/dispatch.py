"""Which request for bytes is sent next, and to which share: all loads of this node together.

A request is sent when a share has room for it. What a reader waits for goes before read-ahead, read-ahead
before the fill, and among equals the load with the fewest requests under way goes first: a huge load does not
starve a small one. How many bodies come in at once is bounded, and with it the memory they take.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from blobfs.shares.choice import Urgency, choose, choose_other
from blobfs.sync.durations import Durations
from blobfs.sync.peer import Peer

KEPT_FREE = {Urgency.READER: 0, Urgency.AHEAD: 4, Urgency.FILL: 8}
"""Of the bodies that may come in at once, those that are left to what is more urgent."""


@dataclass(eq=False)
class Want:
    """A request for about `length` bytes of one of `peers`, that waits for a share with room."""

    peers: tuple[Peer, ...]
    length: int
    urgency: Callable[[], Urgency]
    """Now: a reader may come to wait for what was read-ahead when it was asked for."""
    load_spans: Callable[[], int]
    """How many requests of the same load are under way."""
    turn: int
    granted: trio.Event = field(default_factory=trio.Event)
    since: float = field(default_factory=trio.current_time)
    peer: Peer | None = None


@dataclass(frozen=True, slots=True)
class DispatchStatistics:
    bodies: int
    most_bodies: int
    waiting: int
    granted: int


class Dispatcher:
    """Mutable: `_waiting`, `_hungry` and the counts, and each peer's `bodies`; all of it synchronously.

    `waited` is how long requests waited here until a share had room, `worked` how long they then took.
    Goals, which nobody waits for, wait elsewhere.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._bodies = 0
        self._most_bodies = 0
        self._granted = 0
        self._waiting: list[Want] = []
        self.waited = Durations()
        self.worked = Durations()
        self._hungry: dict[Callable[[], None], Callable[[], int]] = {}
        self._turns = itertools.count()

    def __repr__(self) -> str:
        return f"<Dispatcher {self.statistics()}>"

    def statistics(self) -> DispatchStatistics:
        return DispatchStatistics(self._bodies, self._most_bodies, len(self._waiting), self._granted)

    def allow(self, most: int) -> None:
        """So many bodies at once from now on."""
        self._most = most
        self._assign()

    async def lease(
        self,
        peers: tuple[Peer, ...],
        length: int,
        urgency: Callable[[], Urgency],
        load_spans: Callable[[], int],
    ) -> Peer:
        """Waits for the share to ask; `release` it afterwards."""
        want = Want(peers, length, urgency, load_spans, next(self._turns))
        self._waiting.append(want)
        self._assign()
        try:
            await want.granted.wait()
        except BaseException:
            if want.peer is not None:
                self.release(want.peer)
            else:
                self._waiting.remove(want)
                self.waited.add(trio.current_time() - want.since)
            raise
        assert want.peer is not None
        return want.peer

    def offer(self, peers: tuple[Peer, ...], length: int, urgency: Urgency, most: int) -> Peer | None:
        """A share that has room now, at `most` bodies at once of each; whoever waits had the choice before.

        `take` it before anything else happens, or leave it.
        """
        return self._choose(peers, length, urgency, most)

    def take(self, peer: Peer) -> None:
        """It is given one more request; `release` it afterwards."""
        peer.bodies += 1
        self._bodies += 1
        self._granted += 1
        self._most_bodies = max(self._most_bodies, self._bodies)

    def lease_other(self, peers: tuple[Peer, ...], length: int, *, may_be_back: bool = False) -> Peer | None:
        """A share that is up and free, to ask it for what another one does not bring."""
        index = choose_other([peer.view(self._most) for peer in peers], length, may_be_back=may_be_back)
        if index is None or self._bodies >= self._most:
            return None
        self.take(peers[index])
        return peers[index]

    def lasted(self, seconds: float) -> None:
        """So long a request took, from when it was given to a share."""
        self.worked.add(seconds)

    def release(self, peer: Peer) -> None:
        """The request has ended, whatever came of it."""
        peer.bodies -= 1
        self._bodies -= 1
        self._assign()

    def reconsider(self) -> None:
        """Something that waits has become more urgent."""
        self._assign()

    def feed_later(self, pump: Callable[[], None], load_spans: Callable[[], int]) -> None:
        """Calls `pump`, once, when there may be room again for what is not urgent."""
        self._hungry[pump] = load_spans

    def _assign(self) -> None:
        refused: set[tuple[Peer, ...]] = set()
        for want in sorted(self._waiting, key=lambda want: (want.urgency(), want.load_spans(), want.turn)):
            if want.peers in refused:
                continue
            want.peer = self._choose(want.peers, want.length, want.urgency(), self._most)
            if want.peer is None:
                refused.add(want.peers)
                continue
            self.take(want.peer)
            self._waiting.remove(want)
            self.waited.add(trio.current_time() - want.since)
            want.granted.set()
        hungry, self._hungry = self._hungry, {}
        for pump in sorted(hungry, key=lambda pump: hungry[pump]()):
            pump()

    def _choose(self, peers: tuple[Peer, ...], length: int, urgency: Urgency, most: int) -> Peer | None:
        if self._bodies >= self._most - min(KEPT_FREE[urgency], self._most - 1):
            return None
        index = choose([peer.view(most) for peer in peers], length, urgency)
        return peers[index] if index is not None else None
