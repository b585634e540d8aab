"""Which bundles the shares have of directories: asked for when small files of one are read that are not here.

1. A share is asked for a directory's list only if its log has the name with this very blob: who has not
   listed a directory, or looked several of its names up, reads one file of it as any other.
2. The list has a price, which grows with the directory. It is asked for when the files that were missed
   would have cost as much; a reader of one file of a large directory does not pay for all the others.
3. Nobody depends on it. A share that has no list, or a wrong one, is not asked again for a while.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import trio

from blobfs.config.settings import LoadSettings
from blobfs.directory_bundles import MOST_LISTED, Bundle
from blobfs.model import Attempt, BlobId, Name, split
from blobfs.sync.bundles.bundles import Bundles
from blobfs.sync.bundles.load import BELIEVED_FOR
from blobfs.sync.peer import Peer

KEPT_DIRECTORIES = 64
"""Whose lists are in memory: some 200 bytes for each small blob."""
LISTED_BYTES = 72
"""Of a list, that a blob takes."""
MISS_BYTES = 64 * 1024
"""Of a list, that are worth a missed file: about what comes in the time that asking for it takes."""
OLDER_FOR = 5.0
"""Seconds for which a list without a blob is the newest one."""


class Logs(Protocol):
    """What is needed of `naming.catalogue.Catalogue`."""

    def listed_by(self, name: Name, blob: BlobId) -> list[Peer]: ...

    def names_in(self, peer: Peer, directory: Name) -> int: ...


@dataclass
class _List:
    """What one share said last."""

    until: float = -math.inf
    """It is not asked again before."""
    bundles: dict[BlobId, Bundle] = field(default_factory=dict)


@dataclass
class _Directory:
    """Mutable: `misses`, small files that no bundle was known for; `lists`."""

    misses: int = 0
    lists: dict[Peer, _List] = field(default_factory=dict)
    asking: trio.Lock = field(default_factory=trio.Lock)

    def bundle_of(self, blob: BlobId, peers: Sequence[Peer]) -> Bundle | None:
        """Of a share that is up, if one has it."""
        found = (self.lists[peer].bundles.get(blob) for peer in peers if peer in self.lists)
        return next((bundle for bundle in found if bundle is not None), None)


class DirectoryBundles:
    """`_directories`, the last read one last, may be dropped at any time."""

    def __init__(self, logs: Logs, bundles: Bundles, settings: LoadSettings) -> None:
        self._logs = logs
        self._bundles = bundles
        self._settings = settings
        self._directories: OrderedDict[Name, _Directory] = OrderedDict()

    def __repr__(self) -> str:
        return f"<DirectoryBundles of {len(self._directories)} directories>"

    def may_bring(self, name: Name, blob: BlobId) -> bool:
        """Whether a share may have it in a bundle. No request."""
        return bool(self._logs.listed_by(name, blob))

    async def bring(self, name: Name, blob: BlobId) -> bytes | None:
        """A small blob's bytes, for a reader of that name; None: it is loaded on its own."""
        directory = split(name)[0]
        known = self._directory(directory)
        bundle = known.bundle_of(blob, self._holders(name, blob))
        if bundle is None:
            known.misses += 1
            bundle = await self._learn(known, name, blob)
        if bundle is None:
            return None
        return await self._bundles.bring(bundle.id, bundle.members, blob, directory)

    def forget_verdicts(self) -> None:
        """The shares are not what they were."""
        self._directories.clear()

    def _holders(self, name: Name, blob: BlobId) -> list[Peer]:
        return [peer for peer in self._logs.listed_by(name, blob) if not peer.is_down()]

    async def _learn(self, known: _Directory, name: Name, blob: BlobId) -> Bundle | None:
        """Asks the shares that have the name, one after the other, until one has a bundle with it."""
        async with known.asking:
            for peer in self._holders(name, blob):
                bundle = known.bundle_of(blob, (peer,))
                if bundle is None and self._is_worth_asking(known, peer, split(name)[0]):
                    await self._ask(known, peer, split(name)[0])
                    bundle = known.bundle_of(blob, (peer,))
                if bundle is not None:
                    return bundle
        return None

    def _is_worth_asking(self, known: _Directory, peer: Peer, directory: Name) -> bool:
        if peer in known.lists and trio.current_time() < known.lists[peer].until:
            return False
        most = min(self._logs.names_in(peer, directory), MOST_LISTED)
        return known.misses * MISS_BYTES >= most * LISTED_BYTES

    async def _ask(self, known: _Directory, peer: Peer, directory: Name) -> None:
        bound = min(self._settings.lookup_timeout, self._settings.first_byte_timeout)
        found = await peer.ask("list", bound, lambda share: share.bundle_list(directory))
        has_failed = found is None or isinstance(found, Attempt)
        bundles = () if found is None or isinstance(found, Attempt) else found
        known.lists[peer] = _List(
            trio.current_time() + (BELIEVED_FOR if has_failed else OLDER_FOR),
            {member.blob: bundle for bundle in bundles for member in bundle.members},
        )

    def _directory(self, directory: Name) -> _Directory:
        known = self._directories.get(directory)
        if known is None:
            known = self._directories[directory] = _Directory()
            if len(self._directories) > KEPT_DIRECTORIES:
                self._directories.popitem(last=False)
        self._directories.move_to_end(directory)
        return known
