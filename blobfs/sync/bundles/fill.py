"""Many members of one bundle, for somebody who wants them all: spans over all shares that have it."""

import math
from collections.abc import Callable, Iterable

import trio

from blobfs.shares.choice import Urgency
from blobfs.sync.bundles.load import BundleLoad
from blobfs.sync.bundles.windows import length_of, spans
from blobfs.sync.peer import Peer

LONGEST_WAIT = 1.0
"""Seconds for which a share that has just failed is waited for if no other one has the bundle: asking it for
each blob on its own would take longer, and find it down as well. After its second failure in a row it is
given up."""


class BundleFill:
    """Mutable: `_left`, the members that have not arrived; by `arrived` only."""

    def __init__(self, load: BundleLoad, wanted: Iterable[int], progress: Callable[[int, int], None]) -> None:
        self._load = load
        self._left = set(wanted)
        self._progress = progress

    def __repr__(self) -> str:
        return f"<BundleFill {self._load.package[:12]} left={len(self._left)}>"

    def arrived(self, number: int) -> None:
        """Called by the load."""
        if number in self._left:
            self._left.remove(number)
            self._progress(1, self._load.members[number].size)

    async def run(self) -> None:
        """Until all has arrived or no share brings more. If it is cancelled, what is under way comes all the
        same."""
        self._load.watches.append(self)
        try:
            with self._load.means.placing.eager():
                await self._run()
        finally:
            self._load.watches.remove(self)

    async def _run(self) -> None:
        for _ in range(self._load.settings.max_tries):
            await self._start_all()
            await self._until_nothing_comes()
            if not self._left or not await self._is_worth_another_round():
                return

    async def _start_all(self) -> None:
        """Spans for what is neither here nor coming, each as soon as a share has room for it."""
        for group in spans(self._load.members, sorted(self._left)):
            if all(map(self._load.is_coming, group)):
                continue
            peer = await self._next_share(length_of(self._load.members, group[0], group[-1] + 1))
            if peer is None:
                return
            self._load.start((number for number in group if number in self._left), Urgency.AHEAD, peer)

    async def _next_share(self, length: int) -> Peer | None:
        """The share to ask next, before anything else happens; None: there is none left."""
        load, dispatcher = self._load, self._load.dispatcher
        while True:
            await load.means.placing.room(length)
            peers = load.able_peers()
            if not peers:
                return None
            peer = dispatcher.offer(peers, length, Urgency.AHEAD, load.settings.spans_per_share)
            if peer is not None:
                return peer
            has_room = trio.Event()
            dispatcher.feed_later(has_room.set, load.active_spans)
            await has_room.wait()

    async def _until_nothing_comes(self) -> None:
        while any(map(self._load.is_coming, self._left)):
            await self._load.span_ended.wait()

    async def _is_worth_another_round(self) -> bool:
        """Whether there is a share to ask for the rest; waits for one that may soon be back."""
        if self._load.able_peers():
            return True
        if self._load.means.has_ended:
            return False
        known = [peer.health.statistics().down_until for peer in self._load.suspects()]
        wait = min((until for until in known if until is not None), default=math.inf)
        wait -= trio.current_time()
        if wait > LONGEST_WAIT:
            return False
        await trio.sleep(max(wait, 0.0))
        return True
