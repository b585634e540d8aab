"""A package's small blobs, shares that have them in a bundle, and a node that takes them out of it."""

import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import accumulate

import pytest
import trio
from trio.testing import MockClock

from blobfs.bundle import Member
from blobfs.config.settings import LoadSettings
from blobfs.model import BlobId
from blobfs.store.opening import Store
from blobfs.store.sealed import has, list_blobs
from blobfs.sync.bundles.bundles import Bundles
from blobfs.sync.disk import DiskThreads
from blobfs.sync.flow import Flow
from blobfs.sync.loading.dispatch import Dispatcher
from blobfs.sync.loading.extra import ExtraTraffic
from blobfs.sync.peer import Peer, ShareLike
from tests.sync.fake_share import FakeShare, blob_of
from tests.sync.running import SETTINGS, content, is_kept, until
from tests.sync.virtual import InlineDisk

PACKAGE = BlobId("5e" * 32)
KIB = 1024
SETTLED = 0.5
"""Seconds of virtual time in which all that can happen has happened."""


@dataclass(frozen=True)
class Sample:
    """Small blobs, and where each stands in the bundle."""

    raws: tuple[bytes, ...]
    members: tuple[Member, ...]

    @property
    def bundle(self) -> bytes:
        return b"".join(self.raws)

    @property
    def blobs(self) -> list[BlobId]:
        return [member.blob for member in self.members]

    def range_of(self, first: int, stop: int) -> tuple[int, int]:
        """Offset and length of members, as a request has them."""
        last = self.members[stop - 1]
        return self.members[first].offset, last.offset + last.size - self.members[first].offset


def sample(sizes: Sequence[int]) -> Sample:
    raws = tuple(content(size, seed) for seed, size in enumerate(sizes))
    offsets = accumulate(sizes, initial=0)
    members = [Member(blob_of(raw), at, len(raw)) for raw, at in zip(raws, offsets, strict=False)]
    return Sample(raws, tuple(members))


MANY = sample([32 * KIB] * 320)
"""10 MiB: eight members in each of 40 windows."""
FEW = sample([1, 8192, 8193, 100_000, 131_072, 5_000, 70_000, 40_000, 8_191, 60_000])
"""Of all shapes of hash trees, in two windows."""


def bundle_share(url: str, of: Sample = MANY, group: int = 1, bundle: str = "") -> FakeShare:
    share = FakeShare(url, group=group, bundle=bundle)
    share.bundles[PACKAGE] = of.bundle
    return share


@dataclass
class Singles:
    """What bundles ask of the loads of single blobs."""

    dispatcher: Dispatcher
    extra: ExtraTraffic
    loading: set[str] = field(default_factory=set)

    def load_of(self, key: str) -> object | None:
        return key if key in self.loading else None


@dataclass
class Running:
    """A node, and what it told of blobs that arrived in its store."""

    store: Store
    bundles: Bundles
    peers: list[Peer]
    singles: Singles
    told: list[BlobId] = field(default_factory=list)
    flow: Flow = field(default_factory=Flow)

    def arrived(self, blob: BlobId) -> None:
        assert has(self.store, blob)
        self.told.append(blob)

    async def read(self, of: Sample, number: int) -> bytes | None:
        """As a reader of the mount does, up to where the usual load would begin."""
        blob = of.members[number].blob
        if has(self.store, blob):
            return self.store.layout.blob(blob).read_bytes()
        return await self.bundles.bring(PACKAGE, of.members, blob)

    async def bring(self, of: Sample, number: int) -> bytes | None:
        return await self.bundles.bring(PACKAGE, of.members, of.members[number].blob)

    async def bring_all(self, of: Sample, wanted: set[BlobId] | None = None) -> tuple[set[BlobId], int, int]:
        """What did not come, and the blobs and bytes that progress was told of."""
        counts = [0, 0]

        def progress(blobs: int, length: int) -> None:
            counts[0] += blobs
            counts[1] += length

        asked = set(of.blobs) if wanted is None else wanted
        missing = await self.bundles.bring_all(PACKAGE, of.members, asked, progress, self.flow)
        return missing, counts[0], counts[1]

    async def settled(self) -> None:
        """Until nothing is asked for and all that came is in the store."""
        if not isinstance(trio.lowlevel.current_clock(), MockClock):
            await until(lambda: self.bundles.statistics().waiting == 0)
            return
        for _ in range(100):
            await trio.sleep(SETTLED)
            await self.bundles.settle()
            if self.bundles.statistics().waiting == 0:
                return
        raise AssertionError(f"it does not settle: {self.bundles!r}")

    def kept(self, of: Sample) -> list[int]:
        """The numbers of what is in the store, where nothing else may be; each is right."""
        numbers = {blob: number for number, blob in enumerate(of.blobs)}
        found = sorted(numbers[blob] for blob in list_blobs(self.store))
        assert all(is_kept(self.store, of.blobs[number], of.raws[number]) for number in found)
        return found


@asynccontextmanager
async def bundling(
    store: Store,
    *shares: ShareLike,
    settings: LoadSettings = SETTINGS,
    disk: DiskThreads | None = None,
) -> AsyncIterator[Running]:
    """At the end it is cancelled as it is, and nothing may be left of what was under way."""
    peers = [Peer(share) for share in shares]
    singles = Singles(Dispatcher(settings.bodies), ExtraTraffic(settings.extra_traffic))
    told: list[Running] = []

    class Told:
        def arrived(self, blob: BlobId) -> None:
            told[0].arrived(blob)

    bundles = Bundles(store, disk or InlineDisk(), peers, singles, settings, Told())
    told.append(Running(store, bundles, peers, singles))
    async with trio.open_nursery() as nursery:
        await nursery.start(bundles.run)
        yield told[0]
        nursery.cancel_scope.cancel()
    found = singles.dispatcher.statistics()
    assert (found.bodies, found.waiting, [peer.bodies for peer in peers]) == (0, 0, [0] * len(peers))


def complaints(caplog: pytest.LogCaptureFixture) -> Iterator[str]:
    """What an operator is told."""
    return (record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING)
