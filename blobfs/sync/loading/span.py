"""One run of chunks on its way: which shares are asked for it, one after the other or side by side.

It is asked of one share. Is that silent for longer than its own past suggests, another one is asked for the
rest as well; whoever brings the next chunk goes on, and the other is cancelled. Is it only much slower than
another one would be, the rest is moved there. What fails is asked of the next share, in rounds over all of
them; what has arrived stays.
"""

import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import trio

from blobfs import errors
from blobfs.config.settings import LoadSettings
from blobfs.model import Attempt, Kind
from blobfs.shares.choice import Urgency
from blobfs.shares.failure import ShareFailure
from blobfs.shares.retry_rules import failed_attempt, is_worth_asking_again, pause
from blobfs.sync.background import lone_failure
from blobfs.sync.loading.dispatch import Dispatcher
from blobfs.sync.loading.extra import ExtraTraffic
from blobfs.sync.loading.fetch import Runner
from blobfs.sync.loading.relief import better_ones, next_look
from blobfs.sync.naming.answers import failure_from
from blobfs.sync.peer import Peer


class Whole(Protocol):
    """What a span is a run of: the chunks of a blob (`load.Load`), or the blobs of a package's bundle."""

    settings: LoadSettings
    dispatcher: Dispatcher
    extra: ExtraTraffic

    @property
    def max_tries(self) -> int: ...

    @property
    def retry_timeout(self) -> float: ...

    def peers_for(self, first: int, stop: int) -> tuple[Peer, ...]:
        """The shares that may have all of a range."""

    def preferred(self, peers: tuple[Peer, ...]) -> tuple[Peer, ...]:
        """Those of them to ask rather than the others."""

    def note(self, peer: Peer, attempt: Attempt) -> None: ...

    def verdicts(self) -> list[Attempt]: ...

    def active_spans(self) -> int: ...

    def missing(self, first: int, stop: int) -> list[tuple[int, int]]:
        """What is to be asked for of a range, each in one request."""

    def length_of(self, first: int, stop: int) -> int:
        """Bytes of a range."""

    async def confirm(self, first: int, stop: int) -> None: ...

    async def fetch(
        self, runner: Runner, first: int, stop: int, progressed: Callable[[Runner], None]
    ) -> None:
        """Asks one share, once; `progressed` is called whenever something is here. Raises `ShareFailure`."""


@dataclass(eq=False)
class Span:
    """Mutable: `urgency`, by the load; the rest by its own tasks."""

    load: Whole
    first: int
    stop: int
    urgency: Urgency
    peer: Peer | None = None
    """The share it was leased already, for the first try."""
    attempts: list[Attempt] = field(default_factory=list)
    scope: trio.CancelScope = field(default_factory=lambda: trio.CancelScope(deadline=-math.inf))
    """Its deadline moves on with every chunk that arrives (`extend`)."""
    _runners: list[Runner] = field(default_factory=list)
    _ended: trio.Event = field(default_factory=trio.Event)
    _returning: set[Peer] = field(default_factory=set)
    """Those who lost it, but may be asked again: who won may be worse in the end."""
    _retry_after: float | None = None
    _broken: errors.BlobfsError | None = None

    def __repr__(self) -> str:
        peers = ", ".join(runner.peer.shown for runner in self._runners)
        return f"<Span {self.first}-{self.stop} {self.urgency.name} {peers or 'waiting'}>"

    def overlaps(self, first: int, stop: int) -> bool:
        return self.first < stop and first < self.stop

    def extend(self, seconds: float) -> None:
        """Somebody waits for it for so long yet, or something has arrived."""
        self.scope.deadline = max(self.scope.deadline, trio.current_time() + seconds)

    def look_again(self) -> None:
        """There may be other shares now."""
        self._ended.set()

    def give_up_lease(self) -> None:
        if self.peer is not None:
            self.load.dispatcher.release(self.peer)
            self.peer = None

    async def run(self) -> None:
        """Until all of it is here. Raises what the attempts amount to."""
        with self.scope:
            await self.load.confirm(self.first, self.stop)
            await self._rounds()
            return
        if self._missing():
            raise errors.DeadlineExceeded("nothing arrived in time", self.attempts)

    def runners(self) -> tuple[Runner, ...]:
        """The shares that are at work on it right now."""
        return tuple(self._runners)

    def silence(self) -> list[Attempt]:
        """What to say of shares that have neither answered nor failed yet."""
        return [runner.too_late() for runner in self._runners]

    async def _rounds(self) -> None:
        if not self._missing():  # what was claimed after an unclean end is confirmed
            return
        for turn in itertools.count():
            # How many there are is asked each time: somebody may come meanwhile who is ready for more.
            if turn >= self.load.max_tries or (turn and not await self._pause(turn - 1)):
                break
            tried: list[Peer] = []
            begin = len(self.attempts)
            while candidates := self._others(tried):
                peer = self.peer or await self._lease(self.load.preferred(candidates))
                self.peer = None
                tried.append(peer)
                self.load.extra.retried += bool(self.attempts)
                if await self._race(peer, tried):
                    return
            if not any(is_worth_asking_again(attempt.kind) for attempt in self.attempts[begin:]):
                break
        known = [attempt for attempt in self.load.verdicts() if attempt not in self.attempts]
        raise failure_from([*known, *self.attempts])

    async def _lease(self, candidates: tuple[Peer, ...]) -> Peer:
        length = self.load.length_of(self.first, self.stop)
        return await self.load.dispatcher.lease(
            candidates, length, lambda: self.urgency, self.load.active_spans
        )

    async def _pause(self, turn: int) -> bool:
        """Between two rounds; False when the deadline comes first."""
        left = self.scope.deadline - trio.current_time()
        seconds = pause(turn, self.load.retry_timeout, random.random(), self._retry_after, left)
        self._retry_after = None
        if seconds is None:
            return False
        await trio.sleep(seconds)
        return True

    # Shares side by side

    async def _race(self, first: Peer, tried: list[Peer]) -> bool:
        """Whether the span is here in the end; `tried` gets those that were asked as well."""
        with lone_failure():
            async with trio.open_nursery() as nursery:
                self._start(nursery, first)
                while self._runners:
                    self._ended = trio.Event()
                    with trio.move_on_at(self._next_look(tried)):
                        await self._ended.wait()
                        continue
                    if self._runners:  # the last one may have ended in this very moment
                        self._look(nursery, tried)
        if self._broken is not None:
            raise self._broken
        return not self._missing()

    def _start(self, nursery: trio.Nursery, peer: Peer) -> None:
        now = trio.current_time()
        self._returning.discard(peer)
        runner = Runner(peer, now, now)
        self._runners.append(runner)
        nursery.start_soon(self._run, runner)

    def _others(self, tried: list[Peer]) -> tuple[Peer, ...]:
        peers = self.load.peers_for(self.first, self.stop)
        return tuple(peer for peer in peers if peer not in tried or peer in self._returning)

    def _next_look(self, tried: list[Peer]) -> float:
        if not self._others(tried):
            return math.inf
        now, runner = trio.current_time(), self._runners[-1]
        return next_look(runner, now)

    def _look(self, nursery: trio.Nursery, tried: list[Peer]) -> None:
        """Asks another share too, or instead, if the one at work is silent or slow."""
        now, runner = trio.current_time(), self._runners[-1]
        left = self._bytes_missing()
        is_silent = runner.is_overdue(now)
        others = better_ones(runner, self._others(tried), left, self.urgency, now)
        if runner.lost is not None or not left or not others:
            return
        if is_silent and not self.load.extra.may_hedge():
            return
        other = self.load.dispatcher.lease_other(others, left, may_be_back=is_silent)
        if other is None:
            return
        tried.append(other)
        if is_silent:
            self.load.extra.hedged += 1
            runner.peer.counts.hedged += 1
        else:
            self.load.extra.moved += 1
            runner.peer.counts.moved += 1
            self._lose(runner, f"too slow: {runner.received} bytes in {now - runner.asked:.2f} s")
        self._start(nursery, other)

    def _progressed(self, runner: Runner) -> None:
        """The first of several shares that brings a chunk goes on alone."""
        self.extend(self.load.settings.read_timeout)
        if runner.lost is not None:  # it had this in hand when it was given up
            return
        for other in self._runners:
            if other is not runner and other.lost is None:
                waited = trio.current_time() - other.asked
                self._lose(other, f"{other.received} bytes in {waited:.2f} s, another share was faster")
                other.may_return = True

    def _lose(self, runner: Runner, detail: str) -> None:
        ms = round((trio.current_time() - runner.asked) * 1000)
        kind = Kind.NO_ANSWER if runner.begun is None else Kind.STALLED
        runner.lost = failed_attempt(runner.peer.shown, "blob", kind, detail, received=runner.received, ms=ms)
        now, estimates = trio.current_time(), runner.peer.estimates
        if not runner.is_overdue(now):
            runner.scope.cancel()
        elif runner.begun is not None and estimates.may_only_pause(now):
            runner.watch()
        else:
            if runner.has_stalled(now):
                self._stalled(runner, runner.lost)
            runner.scope.cancel()

    def _stalled(self, runner: Runner, attempt: Attempt) -> None:
        if runner.begun is not None:
            runner.peer.estimates.stalled(trio.current_time())
        runner.peer.record_failure(attempt)

    # One share

    async def _run(self, runner: Runner) -> None:
        peer = runner.peer
        try:
            with runner.scope, peer.asking():
                for start, end in self._missing():
                    await self.load.fetch(runner, start, end, self._progressed)
        except ShareFailure as failure:
            self.attempts.append(failure.attempt)
            self.load.note(peer, failure.attempt)
            if failure.retry_after is not None:
                self._retry_after = min(self._retry_after or math.inf, failure.retry_after)
        except errors.BlobfsError as broken:  # this node's disk: no other share helps
            self._broken = broken
            for other in self._runners:
                other.scope.cancel()
        finally:
            if runner.lost is not None:
                self.attempts.append(runner.lost)
                if runner.is_watched and runner.scope.deadline <= trio.current_time():
                    self._stalled(runner, runner.lost)
            elif trio.current_time() >= self.scope.deadline:
                self.attempts.append(runner.too_late())
            if runner.begun is not None and not runner.is_watched:
                now = trio.current_time()
                peer.estimates.received(runner.received, now - runner.begun, now)
            self.load.extra.count(runner.kept, runner.received)
            self.load.dispatcher.lasted(trio.current_time() - runner.asked)
            peer.counts.kept += runner.kept
            peer.counts.wasted += max(runner.received - runner.kept, 0)
            self._runners.remove(runner)
            if runner.may_return:
                self._returning.add(peer)
            self._leave_watched()
            self._ended.set()
            self.load.dispatcher.release(peer)

    def _leave_watched(self) -> None:
        """Those who were given up do not keep anybody from asking others for the rest."""
        if self._missing() and all(runner.is_watched for runner in self._runners):
            for runner in self._runners:
                runner.scope.cancel()

    def _missing(self) -> list[tuple[int, int]]:
        return self.load.missing(self.first, self.stop)

    def _bytes_missing(self) -> int:
        return sum(self.load.length_of(start, end) for start, end in self._missing())
