"""One bundle, a package's or a directory's: which of its members are on their way, and from which share.

To members it is what a `Load` is to chunks; its spans are the same (`loading.span`): the same choice among
shares, the same patience with them, the same budget for asking twice. But nothing here is the last resort: a
share that is down is not asked at all, one that is silent is given up when any other share may have the blob
itself, and every failure ends with a member that did not come, which is then loaded as any other blob.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import trio

from blobfs import errors
from blobfs.bundle import Member
from blobfs.model import Attempt, BlobId, Kind, Name
from blobfs.shares.choice import Urgency
from blobfs.store import sealed
from blobfs.store.opening import Store
from blobfs.sync.bundles.body import take_members, verified
from blobfs.sync.bundles.means import Means
from blobfs.sync.bundles.windows import (
    SMALL_SCATTERED,
    SMALL_WINDOW,
    Windows,
    free_ranges,
    length_of,
    requests,
)
from blobfs.sync.flow import Flow
from blobfs.sync.loading.fetch import Runner
from blobfs.sync.loading.relief import LOOK_AGAIN
from blobfs.sync.loading.span import Span
from blobfs.sync.loading.verdicts import Verdicts
from blobfs.sync.peer import Peer

_log = logging.getLogger(__name__)

BELIEVED_FOR = 60.0
"""Seconds for which "I have no bundle of it" is believed. A share that gets the package makes one; until
it is asked again its blobs come one by one."""
SPAN_LIVES = 2
"""As a load's: a request without progress ends after so many times the longest read."""


@dataclass
class _Waiter:
    """Of all who read one member."""

    event: trio.Event = field(default_factory=trio.Event)
    content: bytes | None = None


class Watch(Protocol):
    """Somebody who wants many members."""

    def arrived(self, number: int) -> None: ...


@dataclass
class Burst:
    """What has been asked for since nothing was on its way, in bytes of members."""

    began: float = 0.0
    wanted: int = 0
    arrived: int = 0


class BundleLoad:
    """Mutable, all on the event loop. A member is in `_in_flight` from when it is asked for until it has
    arrived, or the one span that brings it has ended.
    """

    max_tries = 1
    retry_timeout = 0.0

    def __init__(
        self, package: BlobId, members: Sequence[Member], means: Means, directory: Name | None = None
    ) -> None:
        """`package` is its id; `directory`: it is a bundle of that one, whose id it is."""
        self.package = package
        self.directory = directory
        self.members = tuple(members)
        self.means = means
        self.settings = means.settings
        self.dispatcher = means.loads.dispatcher
        self.extra = means.loads.extra
        self.watches: list[Watch] = []
        self.burst = Burst()
        self.flow = Flow()
        self.span_ended = trio.Event()
        """Set when one ends; then there is a new one here."""
        self._numbers = {member.blob: number for number, member in enumerate(self.members)}
        small = () if directory is None else (SMALL_SCATTERED, SMALL_WINDOW)
        self._windows = Windows(self.members, *small)
        self._verdicts = Verdicts(BELIEVED_FOR)
        self._spans: list[Span] = []
        self._in_flight: dict[int, Span] = {}
        self._waiters: dict[int, _Waiter] = {}
        self._looking = trio.Lock()

    def __repr__(self) -> str:
        return (
            f"<BundleLoad {self.package[:12]} members={len(self.members)} in_flight={len(self._in_flight)}"
            f" spans={len(self._spans)}>"
        )

    @property
    def what(self) -> str:
        """What it is of."""
        return self.package if self.directory is None else f"{self.directory}/"

    @property
    def is_idle(self) -> bool:
        return not (self._spans or self._waiters or self.watches or self._looking.locked())

    def number_of(self, blob: BlobId) -> int | None:
        return self._numbers.get(blob)

    @property
    def readers(self) -> int:
        """Who waits for members right now."""
        return len(self._waiters) + len(self.watches)

    @property
    def is_fetching(self) -> bool:
        return bool(self._spans)

    @property
    def has_runners(self) -> bool:
        """Whether a share is at work on it."""
        return any(span.runners() for span in self._spans)

    def is_coming(self, number: int) -> bool:
        return number in self._in_flight

    # One member, for a reader

    async def need(self, number: int) -> bytes | None:
        """Its bytes as soon as they are here; None when no bundle brings them now."""
        if number not in self._in_flight:
            await self._start_window(number)
        content = self.means.placing.content_of(self.members[number].blob)
        if content is not None or number not in self._in_flight:
            return content
        waiter = self._waiters.setdefault(number, _Waiter())
        while not waiter.event.is_set():
            with trio.move_on_at(self._next_look(number)):
                await waiter.event.wait()
                break
            self._look(number)
        return waiter.content

    async def _start_window(self, number: int) -> None:
        """Asks for what is not here of its window; who comes meanwhile finds it on its way."""
        async with self._looking:
            here = self.means.placing.content_of(self.members[number].blob)
            if number in self._in_flight or here is not None or not self.able_peers():
                return
            first, stop = self._windows.take(number)
            wanted = await self._absent(number, range(first, stop))
            if number in wanted:  # else it has just been put into the store
                await self.means.placing.room(sum(self.members[each].size for each in wanted))
                self.start(wanted, Urgency.READER)

    async def _absent(self, needed: int, numbers: range) -> list[int]:
        """Those that are neither here nor on their way, in whichever way."""
        placing, load_of = self.means.placing, self.means.loads.load_of
        unknown = [
            (each, self.members[each].blob)
            for each in numbers
            if each not in self._in_flight
            and placing.content_of(self.members[each].blob) is None
            and (each == needed or load_of(self.members[each].blob) is None)
        ]
        absent = set(await self.means.disk.run(absent_of, self.means.store, [blob for _, blob in unknown]))
        return [each for each, blob in unknown if blob in absent]

    def _next_look(self, number: int) -> float:
        """When the span should have brought something, and has had its chance to ask another share."""
        now, runners = trio.current_time(), self._in_flight[number].runners()
        due = runners[-1].stalled_at(now) + LOOK_AGAIN if runners else now
        return due if due > now else now + LOOK_AGAIN

    def _look(self, number: int) -> None:
        """Gives up a share that is silent while one that has no bundle may have the blob."""
        span = self._in_flight.get(number)
        runners = span.runners() if span is not None else ()
        now = trio.current_time()
        if span is None or not runners or not runners[-1].has_stalled(now - LOOK_AGAIN):
            return
        asked = [runner.peer for runner in runners]
        if not any(peer not in asked and not peer.is_struck for peer in self._up_peers()):
            return
        for runner in runners:
            runner.peer.record_failure(runner.too_late())
        span.scope.cancel()

    # Spans

    def start(self, wanted: Iterable[int], urgency: Urgency, peer: Peer | None = None) -> bool:
        """Asks for members, which ascend, unless they are coming. `peer` is the share that brings the first.

        For the bytes there must be room. Whether there was something to ask for.
        """
        numbers = [number for number in wanted if number not in self._in_flight]
        ranges = list(free_ranges(numbers, self._in_flight.__contains__))
        if self.means.has_ended:
            return False
        for first, stop in ranges:
            if peer is not None:
                self.dispatcher.take(peer)
            self._start_span(Span(self, first, stop, urgency, peer), numbers)
            peer = None
        return bool(ranges)

    def _start_span(self, span: Span, wanted: Collection[int]) -> None:
        mine = [number for number in wanted if span.first <= number < span.stop]
        length = sum(self.members[number].size for number in mine)
        if not self._spans:
            self.burst = Burst(trio.current_time())
            self.flow.begin()
        self.burst.wanted += length
        self._in_flight.update(dict.fromkeys(mine, span))
        self.means.placing.promise(length)
        self._spans.append(span)
        span.extend(SPAN_LIVES * self.settings.read_timeout)
        self.means.nursery.start_soon(self._run_span, span)

    async def _run_span(self, span: Span) -> None:
        try:
            await span.run()
        except errors.BlobfsError as error:
            _log.debug("bundle of %r, members %d to %d: %s", self.what, span.first, span.stop, error)
        except Exception:
            _log.exception("bundle of %r: unexpected", self.what)
        finally:
            self._spans.remove(span)
            span.give_up_lease()
            for number in range(span.first, span.stop):
                if self._in_flight.get(number) is span:
                    self._let_go(number)
            self.span_ended.set()
            self.span_ended = trio.Event()

    def _let_go(self, number: int) -> None:
        """It did not come."""
        del self._in_flight[number]
        self.means.placing.give_back(self.members[number].size)
        self.burst.wanted -= self.members[number].size
        self._tell(number, None)

    def _tell(self, number: int, content: bytes | None) -> None:
        waiter = self._waiters.pop(number, None)
        if waiter is not None:
            waiter.content = content
            waiter.event.set()

    # What a span needs of it

    def _up_peers(self) -> list[Peer]:
        return [peer for peer in self.means.peers if not peer.is_plain and not peer.is_down()]

    def able_peers(self) -> tuple[Peer, ...]:
        """The shares that may have the bundle as far as is known, and are not down."""
        return () if self.means.has_ended else self._verdicts.without(self._up_peers())

    def peers_for(self, first: int, stop: int) -> tuple[Peer, ...]:
        return self.able_peers()

    def preferred(self, peers: tuple[Peer, ...]) -> tuple[Peer, ...]:
        return peers

    def suspects(self) -> tuple[Peer, ...]:
        """Those too that are down just now."""
        return self._verdicts.without(peer for peer in self.means.peers if not peer.is_plain)

    def note(self, peer: Peer, attempt: Attempt) -> None:
        self._verdicts.note(peer, attempt)
        if attempt.kind is Kind.WRONG_BYTES:
            peer.strike(f"a bundle of {self.what}", attempt.detail)

    def verdicts(self) -> list[Attempt]:
        return self._verdicts.attempts()

    def forget_verdicts(self) -> None:
        """The shares are not what they were."""
        self._verdicts.forget()

    def active_spans(self) -> int:
        return len(self._spans)

    def missing(self, first: int, stop: int) -> list[tuple[int, int]]:
        coming = [number for number in range(first, stop) if number in self._in_flight]
        return list(requests(self.members, coming))

    def length_of(self, first: int, stop: int) -> int:
        return length_of(self.members, first, stop)

    async def confirm(self, first: int, stop: int) -> None:
        """Nothing of a bundle is ever claimed to be here."""

    async def fetch(
        self, runner: Runner, first: int, stop: int, progressed: Callable[[Runner], None]
    ) -> None:
        peer, counts = runner.peer, self.means.counts

        coming = {number for number in range(first, stop) if number in self._in_flight}

        def take(number: int, content: memoryview) -> None:
            is_new = self._take(peer, first + number, content)
            if is_new or first + number not in coming:  # else another share was faster
                runner.kept += len(content)

        def received(got: int, whole: int) -> None:
            counts.bytes += got
            runner.received += got
            if runner.is_watched:
                runner.went_on(trio.current_time())
            elif whole:
                now = trio.current_time()
                peer.estimates.paused(now - runner.silent_since, now)
                runner.silent_since = now
                progressed(runner)

        counts.requests += 1
        asked = trio.current_time()
        offset, length = self.members[first].offset, self.length_of(first, stop)
        async with peer.share.bundle(self.package, offset, length) as body:
            runner.silent_since = trio.current_time()
            peer.estimates.answered(runner.silent_since - asked)
            if runner.begun is None:
                runner.begun = runner.silent_since
            await take_members(body, self.members[first:stop], take, received)

    def _take(self, peer: Peer, number: int, content: memoryview) -> bool:
        """One member has come whole. Whether it was missing. Raises `ShareFailure` when it is another one."""
        member, counts = self.members[number], self.means.counts
        if number not in self._in_flight:
            counts.wasted += member.size
            return False
        small = verified(member, content)
        if small is None:
            raise peer.wrong("bundle", f"what stands at {member.offset} is not {member.blob}")
        del self._in_flight[number]
        counts.members += 1
        self.burst.arrived += member.size
        peer.came(member.size, self.flow)
        self.means.placing.add(small, self.package if self.directory is None else None)
        self._tell(number, bytes(small.content))
        for watch in self.watches:
            watch.arrived(number)
        return True


def absent_of(store: Store, blobs: Iterable[BlobId]) -> list[BlobId]:
    """Those that are not in the store. Blocks."""
    return [blob for blob in blobs if not sealed.has(store, blob)]
