"""Names on the shares: what a name means there, and what stands in a directory.

A lookup asks every share at once and is bounded in time. A directory's logs are kept, asked for
their tails only, and while they are fresh they answer lookups of what they list without a request
(records are the truth, a log only an index: what it does not list is still asked for).
"""

import logging
import math
from collections import OrderedDict
from collections.abc import Collection, Sequence

import trio

from blobfs import errors
from blobfs.config.settings import LoadSettings
from blobfs.model import RESERVED_PREFIX, Attempt, BlobId, Name, Outcome, split
from blobfs.record import BlobRecord, DirRecord, LogRecord
from blobfs.shares.client import DirectoryHere
from blobfs.sync.failures import RecentFailures, failed_now
from blobfs.sync.naming.answers import (
    Absent,
    Answer,
    Present,
    ShareAnswer,
    Unknown,
    conclude,
    failure_from,
    is_conclusive,
)
from blobfs.sync.naming.known_logs import KnownLog, KnownLogs, leads_out
from blobfs.sync.naming.news import News
from blobfs.sync.naming.share_listings import Listing, Said, ShareListing
from blobfs.sync.naming.winning import winner
from blobfs.sync.peer import Peer
from blobfs.sync.size_proof import proves_size

_log = logging.getLogger(__name__)

CONFLICT_GRACE = 0.02
"""Seconds for which the other shares, if they are up, may still name a newer record once one has answered."""
TAIL_BOUND = 0.5
"""Seconds for which a lookup waits for the tails of logs before it asks for the name itself."""
FOUND_BEFORE_LISTING = 4
"""Names of a directory that are asked for one by one: who looks up so many will look up more, and reads files
that their directory's log leads to. A log that does not come in time is asked for again at twice as many."""
KEPT_FOUND = 1024
"""Directories of which it is known how many names were asked for, and were there."""
KEPT_ABSENCES = 65536
KEPT_UNKNOWN = 1024
"""Names and blobs that could not be looked up, with the reason."""


class Catalogue:
    """Asks the shares. `_logs`, `_absent`, `unknown` and `_found`, how many names of directories that are not
    listed were asked for and are there, are memories that may be dropped at any time.
    """

    def __init__(self, peers: Sequence[Peer], settings: LoadSettings, news: News | None = None) -> None:
        self._peers = peers
        self._settings = settings
        self._news = news or News()
        self._logs = KnownLogs(settings, self._news)
        self._absent: OrderedDict[Name, float] = OrderedDict()
        self._found: OrderedDict[Name, int] = OrderedDict()
        self.unknown = RecentFailures(KEPT_UNKNOWN)
        """Why names, and blobs (by their ids, see `blob_key`), could not be looked up."""

    def lookup_nowait(self, name: Name) -> Answer | None:
        """What `lookup` says without asking anybody; None: somebody has to be asked. Raises as it does."""
        if not self._peers:
            return Absent()
        listed = self._listed(name)
        return None if listed is None else conclude([listed])

    async def lookup(self, name: Name) -> Answer:
        """Asks all shares what `name` means; never longer than the lookup's bound.

        Raises `WrongEverywhere` when the name is there but no usable record of it.
        """
        if (known := self.lookup_nowait(name)) is not None:
            return known
        listed = await self._listed_anew(name)
        if listed is not None:
            return self._enter(name, conclude([listed]))
        if self._absent.get(name, -math.inf) > trio.current_time():
            return Absent()
        answers = await self._ask_all(name)
        try:
            answer = conclude(answers)
        except errors.WrongEverywhere as wrong:
            self.unknown.note(name, failed_now(wrong))
            raise
        if isinstance(answer, Unknown):
            self.unknown.note(name, failed_now(failure_from(answer.attempts)))
            _log_unknown(name, [each for each in answers if each.failure is not None])
            return answer
        self.unknown.forget(name)
        if isinstance(answer, Absent):
            self._remember_absence(name)
        else:
            self._absent.pop(name, None)
            self._count_found(split(name)[0])
        return self._enter(name, answer)

    async def _ask_all(self, name: Name) -> list[ShareAnswer]:
        """Each share's answer in the order of the shares; those too late count as unreachable."""
        answers: dict[Peer, ShareAnswer] = {}
        peers = tuple(self._peers)  # they may change meanwhile
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def ask(peer: Peer) -> None:
                    answers[peer] = answer = await self._ask(peer, name)
                    if is_conclusive(answer):
                        is_worth_it = any(other.is_up() for other in peers if other not in answers)
                        grace = CONFLICT_GRACE if is_worth_it else 0.0
                        scope.deadline = min(scope.deadline, trio.current_time() + grace)

                for peer in peers:
                    nursery.start_soon(ask, peer)
        return [answers[peer] for peer in peers if peer in answers]

    async def _ask(self, peer: Peer, name: Name) -> ShareAnswer:
        directory, _ = split(name)
        if self._is_no_directory(peer, directory):
            return ShareAnswer(peer)  # it has no names in it
        if peer.is_plain:
            return await self._ask_plain(peer, name)
        listed = await self._listed_in_short(peer, name)
        if listed is not None:
            return listed
        found = await peer.ask("record", self._settings.lookup_timeout, lambda share: share.record(name))
        if isinstance(found, Attempt):
            return ShareAnswer(peer, failure=found)
        if isinstance(found, DirectoryHere):
            return ShareAnswer(peer, record=await self._directory_record(peer, name))
        if leads_out(found, name.count("/")):
            failure = peer.wrong("record", "a symlink that leads out of the mount")
            return ShareAnswer(peer, failure=failure.attempt)
        if found is not None:
            self._news.met(peer, name, found)
        return ShareAnswer(peer, record=found)

    def _is_no_directory(self, peer: Peer, directory: Name) -> bool:
        """Whether a share said just now that it has no log of it.

        Where names of it were found all the same only the log is missing: the records are the truth.
        """
        known = self._logs.get(peer, directory)
        is_missing = known is not None and not known.exists and self._logs.is_fresh(known)
        return is_missing and not peer.is_plain and not self._found.get(directory)

    async def _listed_in_short(self, peer: Peer, name: Name) -> ShareAnswer | None:
        """What a share's log says of the first name that is asked for in a directory, if it is a short log.

        The record of a directory stands in the log of the one it is in, so a path is found by a request for
        each of its directories, instead of two.
        """
        directory, component = split(name)
        if self._found.get(directory) != 0 or self._logs.get(peer, directory) is not None:
            return None
        known = await self._logs.read_short(peer, directory)
        if known is None:
            return None
        if known.failure is not None and known.failure.outcome is Outcome.UNREACHABLE:
            return ShareAnswer(peer, failure=known.failure)
        record = known.record(component) if self._logs.is_fresh(known) else None
        return None if record is None else ShareAnswer(peer, record=record)

    async def _directory_record(self, peer: Peer, name: Name) -> DirRecord:
        """A directory's record stands in its parent's log, and nowhere else on a share."""
        parent, component = split(name)
        known = await self._logs.refresh(peer, parent)
        found = known.record(component)
        return found if isinstance(found, DirRecord) else DirRecord(0, 0)

    async def _ask_plain(self, peer: Peer, name: Name) -> ShareAnswer:
        found = await peer.ask("size", self._settings.lookup_timeout, lambda share: share.plain_stat(name))
        if isinstance(found, Attempt):
            return ShareAnswer(peer, failure=found)
        if isinstance(found, DirectoryHere):
            return ShareAnswer(peer, record=DirRecord(0, 0))
        return ShareAnswer(peer, plain=found)

    def _listed(self, name: Name) -> ShareAnswer | None:
        """What fresh logs say, when all of them that could be asked were."""
        directory, component = split(name)
        found: list[tuple[LogRecord, Peer]] = []
        for peer in self._peers:
            known = self._logs.get(peer, directory)
            if known is None or not self._logs.is_fresh(known):
                if peer.is_plain:
                    continue
                return None
            record = known.record(component)
            if record is not None:
                found.append((record, peer))
        if not found:
            return None
        newest, holder = winner(found)
        return ShareAnswer(holder, record=newest)

    async def _listed_anew(self, name: Name) -> ShareAnswer | None:
        """As `_listed`, where logs that are kept list the name but are not fresh: their tails are read first.

        One small request for a whole directory that is being read, instead of one for each of its files. The
        whole logs of one of which several files were looked up.
        """
        directory, _ = split(name)
        if any(peer.is_down() for peer in self._peers):
            return None
        if not self.kept(name) and not self._is_gone_through(directory):
            return None
        with trio.move_on_after(TAIL_BOUND):
            await self.listing(directory)
        return self._listed(name)

    def _is_gone_through(self, directory: Name) -> bool:
        """Whether it is time to read a directory's logs. Asked once, it is not for a while."""
        count = self._found.get(directory, 0)
        if count < FOUND_BEFORE_LISTING or count & (count - 1):
            return False
        self._count_found(directory)
        return True

    def _enter(self, name: Name, answer: Answer) -> Answer:
        """What is a directory may be gone into: nothing in it has been asked for yet."""
        if isinstance(answer, Present) and isinstance(answer.record, DirRecord) and name not in self._found:
            self._count_found(name, 0)
        return answer

    def _count_found(self, directory: Name, more: int = 1) -> None:
        self._found[directory] = self._found.pop(directory, 0) + more
        if len(self._found) > KEPT_FOUND:
            self._found.popitem(last=False)

    def kept(self, name: Name) -> list[tuple[LogRecord, Peer]]:
        """Every record of a name that the kept logs, fresh or not, know of. No request."""
        directory, component = split(name)
        found = []
        for peer in self._peers:
            known = self._logs.get(peer, directory)
            record = known.record(component) if known is not None else None
            if record is not None:
                found.append((record, peer))
        return found

    def heard_of(self, name: Name) -> list[LogRecord]:
        """Every record of a name that a share is known to have or to have had. No request."""
        ahead = self._news.ahead(name)
        return [*(record for record, _ in self.kept(name)), *([ahead] if ahead is not None else [])]

    def listed_by(self, name: Name, blob: BlobId) -> list[Peer]:
        """The shares whose kept logs say that they have this blob under this name. No request."""
        directory, component = split(name)
        found = []
        for peer in self._peers:
            known = self._logs.get(peer, directory)
            record = known.record(component) if known is not None else None
            if isinstance(record, BlobRecord) and record.blob == blob:
                found.append(peer)
        return found

    def names_in(self, peer: Peer, directory: Name) -> int:
        """How many a share's kept log of a directory has, tombstones among them."""
        known = self._logs.get(peer, directory)
        return known.names if known is not None else 0

    def said(self, peer: Peer, directory: Name, component: str) -> Said:
        """What is known of a name from a share's log of the directory it is in. No request."""
        known = self._logs.get(peer, directory)
        if known is None:
            return Said(None, None, None)
        return Said(known.record(component), _read(known), known.failure)

    def absent_since(self, name: Name) -> float | None:
        """When (trio's clock) every share said last that it has no such name, if that is still known."""
        until = self._absent.get(name)
        return None if until is None else until - self._settings.negative_ttl

    def is_listing_fresh(self, directory: Name) -> bool:
        known = (self._logs.get(peer, directory) for peer in self._peers if not peer.is_plain)
        return all(log is not None and self._logs.is_fresh(log) for log in known)

    async def listing(self, directory: Name) -> Listing:
        """Every share's log of a directory, together; never longer than the lookup's bound."""
        logs: dict[Peer, KnownLog] = {}
        peers = tuple(self._peers)  # they may change meanwhile

        async def read(peer: Peer) -> None:
            logs[peer] = await self._logs.refresh(peer, directory)

        async with trio.open_nursery() as nursery:
            for peer in peers:
                if not peer.is_plain:
                    nursery.start_soon(read, peer)
        found = tuple((peer, logs[peer]) for peer in peers if peer in logs)
        failures = tuple(known.failure for _, known in found if known.failure is not None)
        return Listing(found, any(known.exists for _, known in found), failures)

    def listed(self, directory: Name) -> list[ShareListing]:
        """What is known of a directory from each share. No request."""
        found = []
        for peer in self._peers:
            known = self._logs.get(peer, directory)
            if known is not None:
                is_fresh = known.checked > -math.inf and known.failure is None
                found.append(ShareListing(peer, _read(known), is_fresh, known.names, known.failure))
            elif not peer.is_plain:
                found.append(ShareListing(peer, None, False, 0, None))
        return found

    async def blob_size(self, blob: BlobId) -> int | None:
        """The size of a blob; None when every share says it has not got it.

        That of the first share that proves what it says: what is believed here is what the blob is read by.
        Raises `LoadFailed` when nobody has it but not everybody could be asked.
        """
        answers: dict[Peer, int | Attempt | None] = {}
        asked = [peer for peer in self._peers if not peer.is_plain]
        async with trio.open_nursery() as nursery:

            async def ask(peer: Peer) -> None:
                answers[peer] = answer = await self._ask_size(peer, blob)
                if isinstance(answer, int):
                    nursery.cancel_scope.cancel()

            for peer in asked:
                nursery.start_soon(ask, peer)
        sizes = [answer for answer in answers.values() if isinstance(answer, int)]
        if sizes:
            self.unknown.forget(blob_key(blob))
            return sizes[0]
        failures = [answer for answer in answers.values() if isinstance(answer, Attempt)]
        failed = failure_from(failures) if failures else errors.AbsentEverywhere("no share has it")
        self.unknown.note(blob_key(blob), failed_now(failed))
        if failures:
            raise failed
        return None

    async def _ask_size(self, peer: Peer, blob: BlobId) -> int | Attempt | None:
        usual = self._settings.lookup_timeout
        size = await peer.ask("size", usual, lambda share: share.blob_size(blob))
        if not isinstance(size, int):
            return size
        is_proved = await peer.ask("tree", usual, lambda share: proves_size(share, blob, size))
        if is_proved is True:
            return size
        if isinstance(is_proved, Attempt):
            return is_proved
        wrong = peer.wrong("size", f"its {size} bytes are not what the blob id says").attempt
        peer.strike(blob, wrong.detail)
        return wrong

    def forget(self, gone: Collection[Peer]) -> None:
        """The shares are not what they were: what none of them had, another one may have."""
        self._absent.clear()
        self._logs.forget(gone)

    def _remember_absence(self, name: Name) -> None:
        self._absent[name] = trio.current_time() + self._settings.negative_ttl
        self._absent.move_to_end(name)
        if len(self._absent) > KEPT_ABSENCES:
            self._absent.popitem(last=False)


def blob_key(blob: BlobId) -> str:
    """Where a blob stands in the mount: no name looks like it."""
    return f"{RESERVED_PREFIX}/blobs/{blob}"


def _log_unknown(name: Name, failed: Sequence[ShareAnswer]) -> None:
    """One line for the first name after each share's last answer."""
    now = trio.current_time()
    unsaid = [each.peer.unknown_names.count(now) for each in failed]
    if any(count is not None for count in unsaid):
        why = "; ".join(f"{each.peer.shown}: {each.failure.detail}" for each in failed if each.failure)
        before = max(count for count in unsaid if count is not None)
        more = f" (and {before} names before it)" if before else ""
        _log.info("%r could not be looked up: %s%s", name, why, more)


def _read(known: KnownLog) -> float | None:
    return known.checked if known.exists and known.checked > -math.inf else None
