"""What every bundle of this node is fetched with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import trio

from blobfs.config.settings import LoadSettings
from blobfs.store.opening import Store
from blobfs.sync.bundles.placing import Placing
from blobfs.sync.disk import DiskThreads
from blobfs.sync.loading.dispatch import Dispatcher
from blobfs.sync.loading.extra import ExtraTraffic
from blobfs.sync.peer import Peer


@dataclass
class Counts:
    """What `Bundles.statistics` tells, over all bundles."""

    requests: int = 0
    bytes: int = 0
    members: int = 0
    wasted: int = 0
    fallbacks: int = 0


class Loading(Protocol):
    """What is needed of the loads of single blobs (`blobfs.sync.loading.loads.Loads`)."""

    dispatcher: Dispatcher
    extra: ExtraTraffic

    def load_of(self, key: str) -> object | None: ...


@dataclass
class Means:
    """Handed in, all of it. Mutable: `counts`; `has_ended`, once."""

    store: Store
    disk: DiskThreads
    peers: Sequence[Peer]
    loads: Loading
    settings: LoadSettings
    placing: Placing
    counts: Counts
    nursery: trio.Nursery
    has_ended: bool = False
