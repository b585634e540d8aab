"""What is on its way to this node right now, as values: blobs, packages, and small blobs out of bundles.

A package that is being loaded whole is one transfer, and each of its large blobs is one by itself. Its
bundles are not: their bytes are the package's. Everything is read off what the loads know anyway.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from blobfs.config.settings import Fill
from blobfs.model import BlobId
from blobfs.shares.choice import Urgency
from blobfs.sync.bundles.load import BundleLoad
from blobfs.sync.failures import Failure
from blobfs.sync.flow import Flow
from blobfs.sync.loading.load import Load
from blobfs.sync.loading.source import PlainSource
from blobfs.sync.packages.loading import PackageJob
from blobfs.sync.service import SyncService


class State(StrEnum):
    """Of one transfer."""

    LOADING = "loading"  # a share is at work on what somebody wants
    WAITING = "waiting"  # nothing is under way: for a share, for the next try, or for a reader to go on
    FILLING = "filling"  # nobody reads it; the rest comes while the mount is idle


_ORDER = {State.LOADING: 0, State.WAITING: 1, State.FILLING: 2}


@dataclass(frozen=True, slots=True)
class Transfer:
    """One of them. Bytes are those that were right."""

    kind: str
    """blob, plain (a file of a plain share), package, bundle"""
    key: str
    """The blob's or the package's id; of a plain file what it is called in the store."""
    names: tuple[str, ...]
    size: int
    """Of a package as far as its manifests are known; of a bundle what has been asked for just now."""
    present: int
    rate: float | None
    """Bytes a second of late; None while nothing has come."""
    readers: int
    state: State
    shares: Mapping[str, int] = field(default_factory=dict)
    """Bytes by the share's URL, since it was begun in this run."""
    began: float = 0.0
    """trio's clock."""
    last_error: str | None = None
    """What a reader was told, unless something has come since."""
    part_of: str | None = None
    """The package among the transfers that this blob is loaded for: its bytes are counted there too."""

    @property
    def eta(self) -> float | None:
        """Seconds; None where nothing comes that it could be told from."""
        return (self.size - self.present) / self.rate if self.rate else None


def transfers(sync: SyncService, now: float) -> list[Transfer]:
    """All of them; what is loading first, then in the order in which they were begun."""
    jobs = sync.package_loading.jobs()
    in_jobs: set[BlobId] = set().union(*(job.packages for job in jobs.values()), jobs)
    found = [
        *(_of_package(package, job, now) for package, job in jobs.items()),
        *(_of_load(load, now, jobs) for load in sync.loads.unfinished() if _is_on_its_way(load)),
        *_of_bundles(sync.bundles.active(), in_jobs, now),
    ]
    return sorted(found, key=lambda transfer: (_ORDER[transfer.state], transfer.began))


def _of_load(load: Load, now: float, jobs: Mapping[BlobId, PackageJob]) -> Transfer:
    failure = load.failures.since_arrival
    return Transfer(
        "plain" if isinstance(load.source, PlainSource) else "blob",
        load.key,
        tuple(map(str, load.names)) or tuple(_names_in(jobs.values(), load.key)),
        load.size,
        load.partial.present_bytes,
        load.flow.rate.of_late(now),
        load.readers,
        _state_of(load),
        dict(load.flow.from_shares),
        load.began,
        None if failure is None else _in_words(failure),
        next((package for package, job in jobs.items() if job.has(BlobId(load.key))), None),
    )


def _is_on_its_way(load: Load) -> bool:
    """Or it is only waiting to be put to sleep."""
    return load.readers > 0 or bool(load.spans) or load.settings.fill is Fill.IDLE


def _state_of(load: Load) -> State:
    at_work = [span.urgency for span in load.spans if span.runners()]
    if any(urgency is not Urgency.FILL for urgency in at_work):
        return State.LOADING
    return State.WAITING if load.readers else State.FILLING


def _names_in(jobs: Iterable[PackageJob], key: str) -> Iterator[str]:
    """What the packages that are being loaded call it."""
    for job in jobs:
        name = job.name_of(BlobId(key))
        if name is not None:
            yield name


def _in_words(failure: Failure) -> str:
    last = failure.attempts[-1:]
    return str(failure.error) + "".join(f" ({attempt.share}: {attempt.detail})" for attempt in last)


def _of_package(package: BlobId, job: PackageJob, now: float) -> Transfer:
    figures, flow = job.progress.figures(), job.progress.flow
    return Transfer(
        "package",
        package,
        (),
        figures.total_bytes,
        figures.bytes,
        flow.rate.of_late(now),
        job.callers,
        _state_of_flow(flow, now),
        dict(flow.from_shares),
        job.began,
    )


def _of_bundles(bundles: Iterable[BundleLoad], known: set[BlobId], now: float) -> Iterator[Transfer]:
    for bundle in bundles:
        if bundle.package not in known:
            yield Transfer(
                "bundle",
                bundle.package,
                () if bundle.directory is None else (bundle.what,),
                bundle.burst.wanted,
                bundle.burst.arrived,
                bundle.flow.rate.of_late(now),
                bundle.readers,
                State.LOADING if bundle.has_runners else State.WAITING,
                dict(bundle.flow.from_shares),
                bundle.burst.began,
            )


def _state_of_flow(flow: Flow, now: float) -> State:
    return State.LOADING if flow.rate.of_late(now) else State.WAITING
