"""The shares' directory logs, as far as they were read: kept in memory, asked for their tails only.

What is kept is bounded by the memory it takes; the log that was not used for longest goes first and is read
anew when it is asked for. A share that cannot be asked keeps what was known of it, with the reason.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import trio

from blobfs.config.settings import LoadSettings
from blobfs.model import Attempt, Kind, Name
from blobfs.record import LogRecord, SymlinkRecord, target_stays_inside
from blobfs.shares.log_tail import LogReading
from blobfs.shares.packed import is_gone, published_of, unpack
from blobfs.shares.retry_rules import failed_attempt
from blobfs.sync.naming.news import News
from blobfs.sync.peer import Peer, ShareLike

KEPT_BYTES = 256 << 20
"""Of memory, estimated: a little over a million names."""
NAME_BYTES = 220
"""What a name of a usual length takes: its record 90, the component 70, its place in a dictionary 60."""
LOG_BYTES = 1500
"""What a log takes besides."""
READING_SHARE = 0.9
"""Of the time that a share is given: the rest is for saying that it did not answer at all."""
OLDER_BELIEVED = 60.0
"""Seconds. A share that told of an older copy for so long has no newer one: caches keep logs for a moment."""
OLDER_PAUSE = 5.0
"""Seconds until a share that answered with an older copy is asked again: its whole log came each time."""
SHORT_LOG = 16 << 10
"""Bytes of a log, some 70 names, that are taken apart in the time that a request takes."""
AT_ONCE = 2000
"""Names that are looked at before others in the loop get their turn: some 2 ms."""
DROPPED_AT_ONCE = 64
"""Logs that are looked at for what can go."""


@dataclass(eq=False)
class KnownLog:
    """What one share's log of one directory said. Changed only by `KnownLogs`."""

    depth: int
    """Directories above its names: no symlink may lead further up."""
    reading: LogReading = field(default_factory=LogReading)
    exists: bool = False
    checked: float = -math.inf
    """When it was read to its end (trio's clock)."""
    failure: Attempt | None = None
    """Why not, since."""
    asked: float = -math.inf
    """When it was asked for last, whatever came of it."""
    readings: int = 0
    """How often."""
    doubted: float | None = None
    """Since when it tells of an older copy."""
    lock: trio.Lock = field(default_factory=trio.Lock)

    def record(self, component: str) -> LogRecord | None:
        packed = self.reading.entries.get(component)
        if packed is None:
            return None
        record = unpack(packed)
        return None if leads_out(record, self.depth) else record

    def published(self, component: str) -> int | None:
        packed = self.reading.entries.get(component)
        return None if packed is None else published_of(packed)

    @property
    def names(self) -> int:
        """Tombstones among them."""
        return len(self.reading.entries)

    @property
    def cost(self) -> int:
        return LOG_BYTES + NAME_BYTES * self.names


class KnownLogs:
    """`_logs`, the last used one last, may be dropped at any time; `_cost` is what they take together."""

    def __init__(self, settings: LoadSettings, news: News, kept_bytes: int = KEPT_BYTES) -> None:
        self._settings = settings
        self._news = news
        self._kept_bytes = kept_bytes
        self._logs: OrderedDict[tuple[Peer, Name], KnownLog] = OrderedDict()
        self._costs: dict[tuple[Peer, Name], int] = {}
        self._cost = 0

    def statistics(self) -> dict[str, int]:
        return {"logs": len(self._logs), "bytes": self._cost}

    def get(self, peer: Peer, directory: Name) -> KnownLog | None:
        return self._logs.get((peer, directory))

    def of(self, peer: Peer, directory: Name) -> KnownLog:
        """The one that is kept, or a new one; it is the last to be dropped."""
        key = peer, directory
        known = self._logs.get(key)
        if known is None:
            known = self._logs[key] = KnownLog(directory.count("/") + 1 if directory else 0)
            self._weigh(key, known)
        self._logs.move_to_end(key)
        return known

    def forget(self, peers: Collection[Peer]) -> None:
        """All that shares said which are gone."""
        for key in [key for key in self._logs if key[0] in peers]:
            self._cost -= self._costs.pop(key)
            del self._logs[key]

    def is_fresh(self, known: KnownLog) -> bool:
        return trio.current_time() < known.checked + self._settings.listing_ttl

    async def refresh(self, peer: Peer, directory: Name) -> KnownLog:
        """Reads what is new, unless that was done a moment ago; never longer than a lookup may take."""
        known = self.of(peer, directory)
        readings = known.readings
        async with known.lock:
            # Who waited for another's reading takes what came of it.
            if not self.is_fresh(known) and known.readings == readings:
                await self._read(peer, directory, known)
        key = peer, directory
        if self._logs.get(key) is known:
            self._weigh(key, known)
        return known

    async def read_short(self, peer: Peer, directory: Name) -> KnownLog | None:
        """Reads a log that nothing is known of yet, if it is short; None if not, or somebody reads it."""
        known = self.of(peer, directory)
        if known.lock.locked():
            return None
        async with known.lock:
            found = await peer.ask(
                "log",
                self._settings.lookup_timeout,
                lambda share: share.short_log(directory, known.reading, SHORT_LOG),
            )
            if found is None:
                return None
            self._note(peer, known, found)
            await self._tell(peer, directory, known, True)
        key = peer, directory
        if self._logs.get(key) is known:
            self._weigh(key, known)
        return known

    async def _read(self, peer: Peer, directory: Name, known: KnownLog) -> None:
        now = trio.current_time()
        if known.doubted is not None and now < known.asked + OLDER_PAUSE:
            return
        reading = known.reading
        reading.believes_older = known.doubted is not None and now >= known.doubted + OLDER_BELIEVED
        bound = peer.bound(self._settings.lookup_timeout) * READING_SHARE

        async def read(share: ShareLike) -> bool | None:
            before = reading.offset
            with trio.move_on_after(bound):
                return await share.log(directory, reading)
            if reading.offset == before:
                await trio.sleep_forever()  # nothing came: whoever asks says that it is too late
            return None

        is_first = reading.known is None
        found = await peer.ask("log", self._settings.lookup_timeout, read)
        self._note(peer, known, found)
        await self._tell(peer, directory, known, is_first)

    def _note(self, peer: Peer, known: KnownLog, found: bool | Attempt | None) -> None:
        """None: its time was over while it was coming in."""
        reading = known.reading
        known.asked = trio.current_time()
        known.readings += 1
        known.failure = None
        known.exists = known.exists or reading.known is not None
        match found:
            case None:
                detail = f"a long log: {known.names} names so far, the rest when it is asked for again"
                known.failure = failed_attempt(peer.shown, "log", Kind.TOO_LATE, detail)
            case False:
                reading.forget()
                known.exists, known.doubted = False, None
                known.checked = known.asked
            case True if reading.is_older:
                known.doubted = known.asked if known.doubted is None else known.doubted
                detail = "its listing is older than what it said before: a cache's copy, perhaps"
                known.failure = failed_attempt(peer.shown, "log", Kind.WRONG_BYTES, detail)
            case True:
                known.doubted = None
                known.exists, known.checked = True, known.asked
            case failure:
                known.failure = failure

    async def _tell(self, peer: Peer, directory: Name, known: KnownLog, is_first: bool) -> None:
        """What is new, to whom it may concern; of a log that was not known, most is not."""
        reading = known.reading
        changed, reading.changed = reading.changed, set()
        if reading.replaced is not None:
            before, reading.replaced = reading.replaced, None
            now = reading.entries
            for components in batched([*before, *now]):
                changed.update(each for each in components if before.get(each) != now.get(each))
                await trio.lowlevel.checkpoint()
        for components in batched(sorted(changed) if not is_first else await self._of_note(known, changed)):
            self._news.heard(peer, directory, {each: known.record(each) for each in components})
            await trio.lowlevel.checkpoint()

    async def _of_note(self, known: KnownLog, components: Collection[str]) -> list[str]:
        """Of a first reading: what others removed, and what was published in the future."""
        now, found, entries = time.time_ns(), [], known.reading.entries
        for some in batched(components):
            found += [each for each in some if is_gone(entries[each]) or published_of(entries[each]) > now]
            await trio.lowlevel.checkpoint()
        return found

    def _weigh(self, key: tuple[Peer, Name], known: KnownLog) -> None:
        """What it takes now; others, that nobody is reading, go if that is too much."""
        self._cost += known.cost - self._costs.get(key, 0)
        self._costs[key] = known.cost
        if self._cost <= self._kept_bytes:
            return
        for other in list(islice(self._logs, DROPPED_AT_ONCE)):
            if other == key or self._logs[other].lock.locked():
                continue
            self._cost -= self._costs.pop(other)
            del self._logs[other]
            if self._cost <= self._kept_bytes:
                return


def batched(components: Iterable[str]) -> Iterator[list[str]]:
    """As many at a time as nobody in the loop minds."""
    rest = iter(components)
    while some := list(islice(rest, AT_ONCE)):
        yield some


def leads_out(record: object, depth: int) -> bool:
    """Whether a share would have a symlink point to what is not in the mount."""
    return isinstance(record, SymlinkRecord) and not target_stays_inside(record.target, depth)
