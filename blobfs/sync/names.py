"""What names mean: this node's word and the shares' words, brought together by one rule (`naming.winning`).

1. What is here is answered without any network (P6): from this node's own records and what the shares' logs
   said last. Those are read again behind the back of whoever looks, so a change is seen a moment later.
2. What is not here, or known to be removed, is asked for.
3. What other nodes removed is removed here too, if this node only shared it in turn: a name when its
   publisher's tombstone is heard of, a directory when nothing of this node's own is in it. What this node
   published itself is hidden by a newer tombstone, and stays in its store.
"""

import logging
from collections.abc import Sequence

import trio

from blobfs import errors
from blobfs.model import Name, join, split
from blobfs.record import DirRecord, GoneRecord, LogRecord
from blobfs.store.names import LocalName
from blobfs.sync.background import guarded
from blobfs.sync.loading.loads import Loads
from blobfs.sync.naming.answers import Absent, Answer, Present, Unknown, failure_from
from blobfs.sync.naming.browsing import Walk, meaning_of
from blobfs.sync.naming.catalogue import Catalogue
from blobfs.sync.naming.namespace import Namespace
from blobfs.sync.naming.news import News
from blobfs.sync.naming.winning import is_later, winner
from blobfs.sync.peer import Peer

_log = logging.getLogger(__name__)

SLICE = 256
"""Names that are looked through before others have their turn."""

Records = list[tuple[LogRecord, Peer | None]]


class Names:
    """Mutable: `_refreshing`, directories whose logs are being read; `_reviewed`, those of which all that is
    here was held against the logs once; `_changed`, for `wait_changed`.
    """

    def __init__(self, namespace: Namespace, catalogue: Catalogue, loads: Loads, news: News) -> None:
        self._namespace = namespace
        self._catalogue = catalogue
        self._loads = loads
        self._news = news
        self._nursery: trio.Nursery | None = None
        self._refreshing: set[Name] = set()
        self._reviewed: set[Name] = set()
        self._changed: dict[Name, set[str]] = {}
        self._has_changed = trio.Event()
        self._is_all_in_doubt = False

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follows what is heard of the shares, until it is cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            while True:
                changed = await self._news.wait()
                for directory, components in changed.items():
                    self._changed.setdefault(directory, set()).update(components)
                self._has_changed.set()
                for directory, components in changed.items():
                    await guarded(self._follow_removals, directory, components)
                self._news.done()

    @property
    def is_idle(self) -> bool:
        """Whether all that was heard has been followed."""
        return self._news.is_done and not self._refreshing

    async def wait_changed(self) -> dict[Name, set[str]] | None:
        """The names, by their directory, that may mean something else since this returned last; None: all.

        For one caller. What nobody waits for is bounded by the names that the shares have.
        """
        await self._has_changed.wait()
        self._has_changed = trio.Event()
        changed, self._changed = self._changed, {}
        is_all, self._is_all_in_doubt = self._is_all_in_doubt, False
        return None if is_all else changed

    def doubt_all(self) -> None:
        """There are shares now, where there were none that could have said anything else."""
        self._is_all_in_doubt = True
        self._has_changed.set()

    # Asking

    async def lookup(self, name: Name, catalogue: Catalogue) -> Answer:
        """What a name means; `catalogue` is asked what is not here.

        Raises `WrongEverywhere` when the name is there but no usable record of it.
        """
        here = await self._namespace.entry(name)
        if (present := self._present_here(name, here)) is not None:
            return present
        return self._concluded(name, here, await catalogue.lookup(name), catalogue)

    def lookup_nowait(self, name: Name, catalogue: Catalogue) -> Answer | None:
        """As `lookup`. None: the disk or a share has to be asked."""
        if not self._namespace.is_in_memory(split(name)[0]):
            return None
        here = self._namespace.entry_nowait(name)
        if (present := self._present_here(name, here)) is not None:
            return present
        answer = catalogue.lookup_nowait(name)
        return None if answer is None else self._concluded(name, here, answer, catalogue)

    def _present_here(self, name: Name, here: LocalName | None) -> Present | None:
        """What needs no asking; it is looked behind it whether it is still so."""
        if here is None or isinstance(here.record, GoneRecord):
            return None
        self._refresh_nowait(split(name)[0])
        known = meaning_of(here, self._catalogue.kept(name))
        return known if isinstance(known, Present) else None

    def _concluded(self, name: Name, here: LocalName | None, answer: Answer, catalogue: Catalogue) -> Answer:
        """What is here, and no reason not to ask, and what the shares say, together."""
        if here is None:
            return (self._known_before(name, catalogue) or answer) if isinstance(answer, Unknown) else answer
        known = meaning_of(here, self._catalogue.kept(name))
        if isinstance(answer, Unknown):
            return known if isinstance(known, Present) else Absent()
        return _unless_removed(known if isinstance(known, GoneRecord) else here.record, answer)

    async def known(self, name: Name) -> Present | None:
        """What a name means as far as is known; None also where nothing is known. Asks nobody."""
        found = meaning_of(await self._namespace.entry(name), self._catalogue.kept(name))
        return found if isinstance(found, Present) else None

    def _known_before(self, name: Name, catalogue: Catalogue) -> Present | None:
        """While it cannot be asked for: what a log said of it last, or what is being loaded under it.

        Nobody said since that it is gone, and what is here of it can be read.
        """
        kept = meaning_of(None, catalogue.kept(name))
        if isinstance(kept, Present):
            return kept
        for load in self._loads.loads_of(name):
            record = load.names[name]
            if record is not None and load.peers:
                return Present(record, load.peers[0])
        return None

    def _refresh_nowait(self, directory: Name) -> None:
        """Has the shares' logs of a directory read again behind the back of whoever looks a name up."""
        if (
            directory in self._refreshing
            or self._catalogue.is_listing_fresh(directory)
            or self._nursery is None
        ):
            return
        self._refreshing.add(directory)
        self._nursery.start_soon(guarded, self._refresh, directory)

    async def _refresh(self, directory: Name) -> None:
        try:
            await self._catalogue.listing(directory)
        finally:
            self._refreshing.discard(directory)

    async def walk(self, directory: Name) -> Walk:
        """The names of a directory, here and on the shares; some may be gone.

        Raises `NameMissing` when nobody has such a directory, `LoadFailed` when that cannot be known.
        """
        here = await self._namespace.directory(directory)
        there = await self._catalogue.listing(directory)
        if here is None and not there.exists and directory:
            if there.failures:
                raise failure_from(there.failures)
            raise errors.NameMissing(f"no directory {directory}")
        if here is not None and directory not in self._reviewed and self._nursery is not None:
            # Of a long log that is read for the first time nobody says which names are new in it.
            self._reviewed.add(directory)
            self._nursery.start_soon(guarded, self._follow_removals, directory, None)
        # What is empty now may be filled while it is walked through.
        return await Walk.begin({} if here is None else here, there)

    async def listing(self, directory: Name) -> dict[str, Present]:
        """Every live name of a directory, all at once; raises as `walk`."""
        walk = await self.walk(directory)
        found: dict[str, Present] = {}
        for count, component in enumerate(walk.names, 1):
            meaning = walk.meaning(component)
            if meaning is not None:
                found[component] = meaning
            if count % SLICE == 0:
                await trio.lowlevel.checkpoint()
        return found

    # Following

    async def _follow_removals(self, directory: Name, components: set[str] | None) -> None:
        """What is only shared in turn goes when it is heard that it is gone; None: of all that is here."""
        if components is None or len(components) > SLICE:
            here = await self._namespace.directory(directory) or {}
            components = {each for each, entry in here.items() if components is None or each in components}
        elif not await self._namespace.has_directory(directory):
            return
        for count, component in enumerate(sorted(components), 1):
            await self._follow_removal(join(directory, component))
            if count % SLICE == 0:
                await trio.lowlevel.checkpoint()

    async def _follow_removal(self, name: Name) -> None:
        if (
            not self._catalogue.kept(name)
            or self._removal_of(name, await self._namespace.entry(name)) is None
        ):
            return
        async with self._namespace.lock:
            here = await self._namespace.entry(name)
            gone = self._removal_of(name, here)
            if here is None or gone is None:
                return
            try:
                if isinstance(here.record, DirRecord):
                    await self._retract(name, gone)
                else:
                    await self._namespace.put(name, gone, loaded=True)
            except errors.StoreError as failure:
                _log.warning("%r was removed by its publisher, and cannot be removed here: %s", name, failure)

    async def bury_hidden(self, directory: Name) -> None:
        """Ends what is still here below a directory though others have removed it. The lock is held."""
        for name, entry in await self._namespace.entries_below(directory):
            if not isinstance(entry.record, DirRecord) and await self.known(name) is None:
                gone = GoneRecord(await self._namespace.next_published_as(name))
                await self._namespace.put(name, gone, loaded=True)

    def _removal_of(self, name: Name, here: LocalName | None) -> GoneRecord | None:
        """The tombstone that takes away what this node shares in turn."""
        if here is None or not here.loaded:
            return None
        kept = self._catalogue.kept(name)
        if not kept:
            return None
        gone, _ = winner(kept)
        return gone if isinstance(gone, GoneRecord) and is_later(gone, here.record) else None

    async def _retract(self, directory: Name, gone: GoneRecord) -> None:
        """Takes back a directory that holds nothing but what this node loaded. The lock is held.

        No tombstone is made up for the names in it: if another node has one of them, it is there still.
        """
        below = await self._namespace.entries_below(directory)
        if not all(entry.loaded for _, entry in below):
            return
        for name, entry in reversed(below):
            older = GoneRecord(entry.record.published_ns - 1)  # goes with its directory in a moment
            if isinstance(entry.record, DirRecord):
                await self._namespace.remove_directory(name, older)
            else:
                await self._namespace.put(name, older)
        await self._namespace.remove_directory(directory, gone)


def _unless_removed(here: LogRecord, answer: Answer) -> Answer:
    """A name that was removed is there again only if somebody published it since."""
    if not isinstance(answer, Present):
        return answer
    records: Sequence[tuple[LogRecord, Peer | None]] = [(here, None), (answer.record, answer.peer)]
    return Absent() if isinstance(winner(records)[0], GoneRecord) else answer
