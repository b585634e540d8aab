"""One blob on its way to this node, shared by everybody who reads it (P7).

A read names the chunks it needs. Those that are neither here nor on their way are cut into spans; each span
is one task that sees to it that its chunks arrive, verified (`span.py`). Readers wait for chunks, not for
spans, and are woken whenever something has changed. What nobody waits for yet (read-ahead, the fill, a whole
blob that was asked for) is a goal: spans towards it are started whenever a share has room.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import trio

from blobfs import errors
from blobfs.config.settings import LoadSettings, LoadTerms
from blobfs.merkle import Buffer
from blobfs.model import CHUNK_SIZE, Attempt, Kind, Name
from blobfs.record import BlobRecord
from blobfs.shares.choice import Urgency
from blobfs.shares.failure import ShareFailure
from blobfs.shares.retry_rules import failed_attempt
from blobfs.store.partial import Partial
from blobfs.sync.disk import DiskThreads
from blobfs.sync.flow import Flow
from blobfs.sync.loading.chunk_failures import KEPT_ATTEMPTS, ChunkFailures
from blobfs.sync.loading.claims import can_verify, confirm_claimed
from blobfs.sync.loading.dispatch import Dispatcher
from blobfs.sync.loading.extra import ExtraTraffic
from blobfs.sync.loading.fetch import Runner, fetch, stretch
from blobfs.sync.loading.goals import Goal, Goals
from blobfs.sync.loading.landers import Landers
from blobfs.sync.loading.landing import Landed, Landing
from blobfs.sync.loading.passing import Passing
from blobfs.sync.loading.source import Source
from blobfs.sync.loading.span import Span
from blobfs.sync.loading.swarm import PATIENCE, Swarm
from blobfs.sync.loading.towards import most_fitting, next_step, next_wanted
from blobfs.sync.loading.verdicts import Verdicts
from blobfs.sync.loading.waiters import Waiters
from blobfs.sync.loading.window import WHOLE_BELOW, chunk_range, runs
from blobfs.sync.peer import Peer
from blobfs.sync.space import Space

_log = logging.getLogger(__name__)

AreHere = Callable[[int, int], bool]
"""Whether the chunks first to stop are here, as far as their reader cares."""
SPAN_LIVES = 2
"""A span without progress ends after so many times the longest read: whoever timed out may try once more."""


@dataclass(eq=False)
class Load:
    """The state of one load.

    Invariant: a chunk is here (`partial`), on its way (`in_flight`), known to fail (`failures`) or none of
    these; it is in flight for exactly one span. All of it is changed on the event loop.
    """

    key: str
    partial: Partial
    source: Source
    peers: list[Peer]
    settings: LoadSettings
    disk: DiskThreads
    dispatcher: Dispatcher
    extra: ExtraTraffic
    space: Space
    passing: Passing
    landers: Landers
    nursery: trio.Nursery
    on_whole: Callable[["Load"], None]
    """Called once, when the last chunk is here."""
    names: dict[Name, BlobRecord | None] = field(default_factory=dict)
    readers: int = 0
    in_flight: set[int] = field(default_factory=set)
    failures: ChunkFailures = field(init=False)
    swarm: Swarm = field(init=False)
    spans: list[Span] = field(default_factory=list)
    was_whole: bool = False
    kept: trio.Event = field(default_factory=trio.Event)
    """Set when it is in the share under its names, or could not be put there so far."""
    keep_failure: errors.BlobfsError | None = None
    is_kept_soon: bool = False
    """Somebody waits for `kept`."""
    last_needed: float = -math.inf
    began: float = field(default_factory=trio.current_time)
    flow: Flow = field(default_factory=Flow)
    max_tries: int = 1
    retry_timeout: float = 0.0
    _goals: Goals = field(init=False)
    _landing: Landing = field(init=False)
    _verdicts: Verdicts = field(default_factory=Verdicts)
    _waiters: Waiters = field(init=False)
    _has_ended: bool = False
    """The node ends: a span that was started now would only be cancelled, and the next one after it."""

    def __post_init__(self) -> None:
        self.failures = ChunkFailures(self.settings.failure_memory)
        self._goals = Goals(self.partial)
        self._waiters = Waiters(self.partial)
        self.swarm = Swarm(self.key, self.size, self.dispatcher, self.nursery)
        self._landing = Landing(self.partial, self.source, self.disk, self.space, self.passing, self.landers)

    @property
    def size(self) -> int:
        return self.source.size

    def __repr__(self) -> str:
        return (
            f"<Load {self.key[:12]} {self.partial.present_bytes}/{self.size} in_flight={len(self.in_flight)}"
            f" spans={len(self.spans)} readers={self.readers}>"
        )

    def join(self, terms: LoadTerms, peers: Sequence[Peer]) -> None:
        """Somebody wants it, perhaps as well: what he knows and is ready to try is added."""
        self.peers += [peer for peer in peers if peer not in self.peers]
        if not self.readers:
            self.max_tries, self.retry_timeout = 1, 0.0
        self.max_tries = max(self.max_tries, terms.max_tries or self.settings.max_tries)
        wanted = self.settings.retry_timeout if terms.retry_timeout is None else terms.retry_timeout
        self.retry_timeout = max(self.retry_timeout, wanted)

    # What readers call

    def is_here(self, offset: int, length: int) -> bool:
        return self._landing.has_all(*chunk_range(offset, length, self.size))

    def is_kept(self, offset: int, length: int) -> bool:
        first, stop = chunk_range(offset, length, self.size)
        return self.partial.all_present(first, stop - first)

    @property
    def is_passing(self) -> bool:
        """What came last was not kept: there was no room."""
        return self._landing.refusal is not None

    async def need(self, offset: int, length: int) -> None:
        """Until these bytes are here, for a reader. As `bring`, and the fill keeps quiet meanwhile.

        Where there is no room to keep them they are here for a moment only.
        """
        if not self.is_here(offset, length):
            self.last_needed = trio.current_time()
            deadline = trio.current_time() + self.settings.read_timeout
            await self._bring_until(deadline, offset, length, Urgency.READER, self._landing.has_all)
            self.last_needed = trio.current_time()

    async def bring(self, offset: int, length: int, urgency: Urgency, deadline: float) -> None:
        """Until these bytes are kept here, however many. Raises `LoadFailed`, and `StoreError` when there is
        no room for them; never waits beyond the deadline."""
        self._landing.begin_keeping()
        await self._bring_until(deadline, offset, length, urgency, self._landing.has_kept)

    async def _bring_until(
        self, deadline: float, offset: int, length: int, urgency: Urgency, are_here: AreHere
    ) -> None:
        first, stop = chunk_range(offset, length, self.size)
        begin = trio.current_time()
        with trio.move_on_at(deadline):
            await self._bring(first, stop, urgency, deadline, are_here)
            return
        error = errors.DeadlineExceeded(
            f"not here after {trio.current_time() - begin:.3g} s", self._attempts_so_far(first, stop)
        )
        self.failures.tell(error)
        raise error

    async def _bring(
        self, first: int, stop: int, urgency: Urgency, deadline: float, are_here: AreHere
    ) -> None:
        is_long = stop - first > self.settings.span_size // CHUNK_SIZE
        goal = self._goals.add_awaited(first, stop, urgency) if is_long else None
        patient_until = trio.current_time() + PATIENCE
        try:
            with self._waiters.waiting(first, stop) as waiter:
                while not are_here(first, stop):
                    if self._has_ended:
                        raise errors.ServiceEnded("the node ends")
                    self.failures.raise_for(first, stop)
                    if goal is not None:
                        self.pump()
                    else:
                        self._start(first, stop, urgency, trio.current_time() < patient_until)
                    self._wanted_now(first, stop, urgency, deadline)
                    is_patient = self.swarm.is_on and trio.current_time() < patient_until
                    with trio.move_on_at(patient_until if is_patient else math.inf):
                        await waiter.wait()
        finally:
            if goal is not None:
                self._goals.remove(goal)

    def _wanted_now(self, first: int, stop: int, urgency: Urgency, deadline: float) -> None:
        """Somebody waits for what was only worth having so far."""
        wanted = [span for span in self.spans if span.overlaps(first, stop)]
        is_raised = any(span.urgency > urgency for span in wanted)
        for span in wanted:
            span.urgency = min(span.urgency, urgency)
            span.extend(min(deadline - trio.current_time(), SPAN_LIVES * self.settings.read_timeout))
        if is_raised:
            self.dispatcher.reconsider()

    def _attempts_so_far(self, first: int, stop: int) -> tuple[Attempt, ...]:
        """Why it has not arrived yet: of the spans that are under way, else of the last failure."""
        found: list[Attempt] = []
        for span in self.spans:
            if span.overlaps(first, stop):
                found += [*span.attempts, *span.silence()]
        return tuple(found[-KEPT_ATTEMPTS:]) or self.failures.attempts or self._silence()

    def _silence(self) -> tuple[Attempt, ...]:
        """Every share was too busy to be asked."""
        return tuple(
            failed_attempt(peer.shown, "blob", Kind.TOO_LATE, "busy with other requests")
            for peer in self.peers
            if self.source.offers(peer)
        )

    def ahead(self, offset: int, length: int) -> None:
        """What a sequential reader will want next is worth having, as long as nobody waits for others."""
        self._goals.move_ahead(*chunk_range(offset, length, self.size))
        self.pump()

    def forget_goals(self) -> None:
        """Nobody reads it any more."""
        self._goals.forget_ahead()
        self._landing.forget_passed()

    # Spans

    def _start(self, first: int, stop: int, urgency: Urgency, is_patient: bool) -> None:
        """Starts spans for the chunks of a range that are neither here, nor coming, nor known to fail."""
        most = self.settings.span_size // CHUNK_SIZE
        if self.size <= WHOLE_BELOW:
            first, stop = 0, self.partial.chunks
        elif next_wanted(self, first, stop) is None:
            return
        elif urgency is Urgency.READER and (goal := self._goals.reach(first, stop)) is not None:
            self.pump()
            if self.spans and (is_patient or not self.swarm.is_on):
                return  # it gets there by itself
            if not self.swarm.is_on:
                stop = max(stop, min(goal.stop, first + most_fitting(self, goal)))
        for start, end in runs(first, stop, self.is_wanted, most):
            self._start_span(Span(self, start, end, urgency))

    def pump(self) -> None:
        """Starts spans towards the goals while shares have room for them."""
        if self._has_ended:
            return
        for goal in self._goals:
            self._watch()
            while self._start_towards(goal):
                pass

    def _start_towards(self, goal: Goal) -> bool:
        """One span; False when there is nothing to start now."""
        step = next_step(self, goal)
        if step is None:
            return False
        if step.peer is not None:
            self.dispatcher.take(step.peer)
        self._start_span(Span(self, step.first, step.stop, goal.urgency, step.peer))
        return step.peer is not None

    def _start_span(self, span: Span) -> None:
        self.in_flight.update(range(span.first, span.stop))
        self.spans.append(span)
        span.extend(SPAN_LIVES * self.settings.read_timeout)
        self.nursery.start_soon(self._run_span, span)
        if span.urgency is Urgency.FILL:
            self._watch()

    def _watch(self) -> None:
        self.swarm.watch(self.peers, lambda: bool(self.spans or self._goals), self._heard)

    def _heard(self, peer: Peer) -> None:  # it has more of it than before
        self._verdicts.forgive(peer)
        self.pump()

    @property
    def is_sequential(self) -> bool:
        """Whether what follows is wanted too."""
        return bool(self._goals)

    @property
    def is_brought(self) -> bool:
        return any(goal.is_awaited for goal in self._goals)

    def active_spans(self) -> int:
        return len(self.spans)

    def able_peers(self) -> tuple[Peer, ...]:
        """The shares that may have all of it as far as is known."""
        return self.swarm.whole(self.worth_asking())

    def worth_asking(self) -> tuple[Peer, ...]:
        return self._verdicts.without(peer for peer in self.peers if self.source.offers(peer))

    def peers_for(self, first: int, stop: int) -> tuple[Peer, ...]:
        return self.swarm.having(self.worth_asking(), first, stop)

    def preferred(self, peers: tuple[Peer, ...]) -> tuple[Peer, ...]:
        return self.swarm.preferred(peers)

    def verdicts(self) -> list[Attempt]:
        return self._verdicts.attempts()

    def forget_verdicts(self) -> None:
        """The shares are not what they were."""
        self._verdicts.forget()

    def note(self, peer: Peer, attempt: Attempt) -> None:
        """One share failed."""
        self.swarm.failed(peer, attempt, self.worth_asking())
        self._verdicts.note(peer, attempt)
        if attempt.kind is Kind.WRONG_BYTES:
            peer.strike(self.key, attempt.detail)

    def is_wanted(self, chunk: int) -> bool:
        if self._landing.has(chunk) or chunk in self.in_flight:
            return False
        return not self.failures.is_failing(chunk)

    def _fail(self, span: Span, error: errors.BlobfsError) -> None:
        missing = [chunk for chunk in range(span.first, span.stop) if chunk in self.in_flight]
        self.failures.remember(missing, error)
        shown = next((repr(str(name)) for name in self.names), self.key)
        self.failures.complain(shown, error, is_waited_for=span.urgency is not Urgency.FILL)

    async def _run_span(self, span: Span) -> None:
        try:
            await span.run()
        except errors.BlobfsError as error:
            self._fail(span, error)
        except Exception:
            _log.exception("%s: unexpected", self.key)
            self._fail(span, errors.LoadFailed("unexpected; see the log"))
        except BaseException:  # cancelled, perhaps in a group
            self._has_ended = True
            raise
        finally:
            self.spans.remove(span)
            self.in_flight.difference_update(range(span.first, span.stop))
            span.give_up_lease()
            self.pump()
            self._waiters.changed()
            self.check_whole()

    async def confirm(self, first: int, stop: int) -> None:
        """After an unclean end: the chunks of a range that the map claims are verified again."""
        if not self.partial.claimed(first, stop - first):
            return
        confirmed = await confirm_claimed(
            self.partial, self.source, self.disk, self.able_peers(), first, stop, self.note
        )
        self.in_flight.difference_update(confirmed)
        self._waiters.changed()

    def missing(self, first: int, stop: int) -> list[tuple[int, int]]:
        """What has not landed yet of the chunks of a span."""
        return list(runs(first, stop, self.in_flight.__contains__, stop - first))

    def length_of(self, first: int, stop: int) -> int:
        return stretch(first, stop, self.size)[1]

    async def fetch(
        self, runner: Runner, first: int, stop: int, progressed: Callable[[Runner], None]
    ) -> None:
        await fetch(self, runner, first, stop, progressed)

    async def prepare(self, peer: Peer, first: int, stop: int) -> None:
        """For `fetch`: what these chunks are verified with. Who has a part of the blob need not have that."""
        if not self.swarm.has_part(peer):
            await self.source.prepare(peer, first, stop, ahead=self.is_sequential)
            return
        if not await can_verify(self.source, self.able_peers(), first, stop, self.note):
            raise ShareFailure(failed_attempt(peer.shown, "tree", Kind.NOT_ASKED, "nobody has its tree"))

    def check_whole(self) -> None:
        if self.partial.is_whole and not self.was_whole:
            self.was_whole = True
            self.on_whole(self)

    async def keep(self, chunk: int, content: Buffer) -> bool:
        """Verifies whole chunks and keeps them, or passes them on; False when they are wrong."""
        landed = await self._landing.land(chunk, content)
        if landed is Landed.WRONG:
            return False
        count = -(-len(content) // CHUNK_SIZE)
        self.failures.arrived(chunk, chunk + count)
        self.in_flight.difference_update(range(chunk, chunk + count))
        if landed is Landed.PASSED:
            self._waiters.changed()
            return True
        self._waiters.arrived(chunk, chunk + count)
        self.check_whole()
        return True
