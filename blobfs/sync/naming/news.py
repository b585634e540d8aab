"""What the shares have said of names: which of them mean something else now, and whose clock is ahead.

Nobody is called back. Whoever reads the shares notes it here (`heard`, `met`), one task waits for it
(`wait`), and whoever publishes asks what he must be later than (`ahead`).
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Mapping

import trio

from blobfs.model import Name, join
from blobfs.record import LogRecord
from blobfs.sync.peer import Peer

_log = logging.getLogger(__name__)

MUCH_AHEAD_NS = 3600 * 1_000_000_000
"""From here on it is no drift of a clock that runs free, but one that is set wrong."""
KEPT_AHEAD = 65536
"""Names whose record is from the future; without a wrong clock there is hardly one."""


class News:
    """Mutable: `_changed` until it is taken, `_ahead`, and the shares that were complained about."""

    def __init__(self) -> None:
        self._changed: dict[Name, set[str]] = {}
        self._stirred = trio.Event()
        self.is_done = True
        """Whether whoever waits for it has taken all of it in."""
        self._ahead: OrderedDict[Name, LogRecord] = OrderedDict()
        self._complained: set[Peer] = set()

    def heard(self, peer: Peer, directory: Name, changed: Mapping[str, LogRecord | None]) -> None:
        """A share's log says something new of these names; None: it does not list the name any more."""
        if not changed:
            return
        now = time.time_ns()
        for component, record in changed.items():
            if record is not None and record.published_ns > now:
                self._note_ahead(peer, directory, component, record, now)
        self._changed.setdefault(directory, set()).update(changed)
        self._stirred.set()
        self.is_done = False

    def met(self, peer: Peer, name: Name, record: LogRecord) -> None:
        """A share answered with this record. Who asked knows what he got."""
        now = time.time_ns()
        if record.published_ns > now:
            directory, _, component = name.rpartition("/")
            self._note_ahead(peer, Name(directory), component, record, now)

    def _note_ahead(self, peer: Peer, directory: Name, component: str, record: LogRecord, now: int) -> None:
        try:
            name = join(directory, component)
        except ValueError:
            return  # no name: nothing is ever published under it
        known = self._ahead.get(name)
        if known is None or known.published_ns < record.published_ns:
            self._ahead[name] = record
        self._ahead.move_to_end(name)
        if len(self._ahead) > KEPT_AHEAD:
            self._ahead.popitem(last=False)
        ahead = record.published_ns - now
        if ahead > MUCH_AHEAD_NS and peer not in self._complained:
            self._complained.add(peer)
            hours = ahead / MUCH_AHEAD_NS
            _log.warning(
                "%s: %r was published %.1f hours from now: a clock is wrong", peer.shown, name, hours
            )

    def ahead(self, name: Name) -> LogRecord | None:
        """The latest record of a name that was heard of, if it was published in the future."""
        return self._ahead.get(name)

    async def wait(self) -> dict[Name, set[str]]:
        """The names, by their directory, of which something new was heard since this returned last."""
        await self._stirred.wait()
        self._stirred = trio.Event()
        changed, self._changed = self._changed, {}
        return changed

    def done(self) -> None:
        """What `wait` returned last has been taken in."""
        self.is_done = not self._changed
