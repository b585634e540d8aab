"""Other nodes that load the same blob: which parts of it they have, and what is asked of them.

A live node says of itself that it can be asked (`Peer.has_parts`); a static server never does, and costs no
request. While a load runs on, a few of those that do not have all of it are asked every so often. What they
say is no more than a hint: whatever they send is verified, and who does not have what he said is asked for
nothing more for a while.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import trio

from blobfs.chunks import chunk_count
from blobfs.model import Attempt, BlobId, Kind
from blobfs.shares.choice import Urgency
from blobfs.shares.spreading import Chunks, between, is_preferred, next_place, next_run
from blobfs.sync.background import guarded
from blobfs.sync.loading.dispatch import Dispatcher
from blobfs.sync.loading.window import WHOLE_BELOW
from blobfs.sync.peer import Peer

REFRESH = 0.4
"""Seconds between two questions to one node: a small request, against what is asked of the source in vain."""
PATIENCE = 1.0
"""Seconds for which a sequential reader waits for what its load fetches in another order, before it is asked
for at once: readers side by side would all ask the source for the same, and have nothing for each other."""
ASKED_AT_ONCE = 8
"""Nodes that are asked in one round, drawn by lot: a thousand would be a thousand requests."""
ANSWER_SECONDS = 5.0
"""For one answer; the others are not held up by it."""
ALONE_SPAN = 16
"""Chunks, 2 MiB: the most that is asked of who has all of it at a time. As long, nobody else knows of it."""
MOST_LIES = 3
"""So often a node may turn out not to have what it said it had, before this load believes it no more."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A run of chunks and whom to ask for it."""

    peer: Peer
    first: int
    stop: int


class Swarm:
    """Of one load. Mutable: `_parts`, what nodes have that do not have all of it, 0 where that is nothing;
    `_whole`, live nodes that have it; both by their answers and by failures. `_asking`, who owes an answer.
    `_place`, where this node goes on with what only the source has.
    """

    def __init__(self, key: str, size: int, dispatcher: Dispatcher, nursery: trio.Nursery) -> None:
        self._key = key
        self._size = size
        self._dispatcher = dispatcher
        self._nursery = nursery
        self._parts: dict[Peer, Chunks] = {}
        self._whole: set[Peer] = set()
        self._lies: Counter[Peer] = Counter()
        self._asking: set[Peer] = set()
        self._is_watching = False
        self._place = random.randrange(chunk_count(size)) if size else 0

    def __repr__(self) -> str:
        parts = {peer.shown: chunks.bit_count() for peer, chunks in self._parts.items()}
        return f"<Swarm {self._key[:12]} whole={len(self._whole)} parts={parts}>"

    # What is known

    @property
    def is_on(self) -> bool:
        """Whether there are nodes that may have a part, and not all of it."""
        return bool(self._parts or self._asking)

    def whole(self, peers: Sequence[Peer]) -> tuple[Peer, ...]:
        """Those who may have all of it as far as is known; where nobody is, everybody."""
        return tuple([peer for peer in peers if peer not in self._parts] or peers)

    def having(self, peers: Sequence[Peer], first: int, stop: int) -> tuple[Peer, ...]:
        """Those who have all of a range."""
        chunks, whole = between(first, stop), self.whole(peers)
        return tuple(peer for peer in peers if peer in whole or chunks & self._parts.get(peer, 0) == chunks)

    def has_part(self, peer: Peer) -> bool:
        return bool(self._parts.get(peer))

    def preferred(self, peers: Sequence[Peer]) -> tuple[Peer, ...]:
        """Those of them to ask, each of whom has what is wanted. Whose answer is still to come need not."""
        holders = self._holders(peers, [peer for peer in peers if not self._parts.get(peer)])
        return tuple(holders or [peer for peer in peers if peer not in self._asking] or peers)

    def _holders(self, peers: Sequence[Peer], whole: Sequence[Peer]) -> list[Peer]:
        views = [peer.view(1) for peer in whole]
        return [peer for peer in peers if self._parts.get(peer) and is_preferred(peer.view(1), views)]

    def failed(self, peer: Peer, attempt: Attempt, peers: Sequence[Peer]) -> None:
        """It was asked for bytes. Where nobody is left who may have all of it, beyond what it said it has."""
        if attempt.kind is Kind.ABSENT:
            is_lie = self.has_part(peer) and any(each not in self._parts for each in peers)
            self._lies[peer] += is_lie
            self._whole.discard(peer)
            if peer in self._parts:
                self._parts[peer] = 0

    # What is asked of whom

    @property
    def fill_from(self) -> int:
        """Where to begin with what nobody waits for, so that not all nodes fill in the same order."""
        return self._place if self.is_on else 0

    def choose(
        self,
        peers: Sequence[Peer],
        wanted: Chunks,
        urgency: Urgency,
        most: int,
        fitting: Callable[[Peer], int],
        begin: int | None,
    ) -> Chosen | None:
        """The next run of wanted chunks; None: wait until somebody has room. `most` are bodies of each share
        at once; `begin` is where a reader is, who wants what others have in order."""
        whole = self.whole(peers)
        holders = self._holders(peers, whole)
        elsewhere = 0
        for peer in sorted(holders, key=lambda peer: peer.bodies):
            elsewhere |= self._parts[peer]
            here = wanted & self._parts[peer]
            if here and self._dispatcher.offer((peer,), 0, urgency, most) is not None:
                start = self._place if begin is None else begin
                return Chosen(peer, *next_run(here, start, fitting(peer)))
        alone = wanted & ~elsewhere
        whole = tuple([peer for peer in whole if peer not in self._asking] or whole)
        free = self._dispatcher.offer(whole, 0, urgency, most) if alone and whole else None
        if free is None:
            return None
        place = next_place(alone, self._place, random.randrange)
        chosen = Chosen(free, *next_run(alone, place, min(fitting(free), ALONE_SPAN)))
        self._place = chosen.stop
        return chosen

    # Asking them

    def watch(
        self, peers: Sequence[Peer], is_running: Callable[[], bool], changed: Callable[[Peer], None]
    ) -> None:
        """Asks now, and again as long as the load is running. `changed` is told who has more."""
        if not self._is_watching and self._size > WHOLE_BELOW and self._worth_asking(peers):
            self._is_watching = True
            self._ask_some(self._worth_asking(peers), changed)
            self._nursery.start_soon(guarded, self._watch, peers, is_running, changed)

    async def _watch(
        self, peers: Sequence[Peer], is_running: Callable[[], bool], changed: Callable[[Peer], None]
    ) -> None:
        try:
            await trio.sleep(REFRESH)
            while is_running() and (worth := self._worth_asking(peers)):
                self._ask_some(worth, changed)
                await trio.sleep(REFRESH)
        finally:
            self._is_watching = False
            self._parts.clear()  # nobody keeps it up to date any more

    def _ask_some(self, peers: Sequence[Peer], changed: Callable[[Peer], None]) -> None:
        for peer in random.sample(peers, min(len(peers), ASKED_AT_ONCE)):
            if peer not in self._asking:
                self._asking.add(peer)
                self._nursery.start_soon(guarded, self._ask, peer, changed)

    def _worth_asking(self, peers: Sequence[Peer]) -> list[Peer]:
        """Live nodes; where there are any, also those that have never answered anything: they may be some."""
        if not any(peer.has_parts for peer in peers):
            return []
        return [
            peer
            for peer in peers
            if (peer.has_parts or peer.last_answered is None)
            and not peer.is_plain
            and peer not in self._whole
            and not (peer.is_down() or peer.is_struck or self._lies[peer] >= MOST_LIES)
        ]

    async def _ask(self, peer: Peer, changed: Callable[[Peer], None]) -> None:
        try:
            found = await peer.ask(
                "parts", ANSWER_SECONDS, lambda share: share.parts(BlobId(self._key), self._size)
            )
        finally:
            self._asking.remove(peer)
        before = self._parts.pop(peer, 0)
        if isinstance(found, Attempt) or not peer.has_parts:  # a static share says nothing of what it has
            return
        chunks = 0 if found is None else int.from_bytes(found, "little")
        if chunks.bit_count() == chunk_count(self._size):
            self._whole.add(peer)
        else:
            self._parts[peer] = chunks
        if chunks & ~before:
            changed(peer)
