"""A whole package comes here, with the packages in it.

1. The manifests first: only they say what else there is (`manifests.py`).
2. What is not here of the rest: small blobs out of bundles, beside them the large ones, then one by one what
   no bundle brought (`whole_blobs.py`).
3. When everything is here the package is made complete: from then on none of its blobs is taken away.

However many callers want a package, it is loaded once. A caller that is cancelled takes nothing from the
others; with the last one the load ends. What has arrived stays, so whoever comes next loads the rest.
"""

import logging
from collections.abc import Mapping, Set
from dataclasses import dataclass, field

import trio

from blobfs import errors
from blobfs.model import BlobId
from blobfs.store import packages, sealed
from blobfs.store.opening import Store
from blobfs.sync.background import lone_failure
from blobfs.sync.bundles.bundles import Bundles
from blobfs.sync.disk import DiskThreads
from blobfs.sync.packages.contents import Contents
from blobfs.sync.packages.manifests import Manifests
from blobfs.sync.packages.progress import Progress
from blobfs.sync.packages.transactions import Transactions
from blobfs.sync.packages.whole_blobs import WholeBlobs

_log = logging.getLogger(__name__)

TURNS = 3
"""A blob of a package may be removed while the rest of it comes. So often is no accident."""


@dataclass(frozen=True, slots=True)
class LoadedPackage:
    """A package that is complete here."""

    package: BlobId
    files: int
    """As somebody counts them who looks at the tree."""
    blobs: int
    bytes: int
    """Of its blobs, each once, manifests included."""
    loaded_blobs: int
    loaded_bytes: int
    """What of them came from the shares."""


@dataclass(eq=False)
class PackageJob:
    """The load of one package. `done` is set when `loaded` or `failure` is; `contents`, once read."""

    callers: int = 0
    began: float = field(default_factory=trio.current_time)
    contents: Contents | None = None
    progress: Progress = field(default_factory=Progress)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    done: trio.Event = field(default_factory=trio.Event)
    _large: dict[BlobId, str] | None = None
    loaded: LoadedPackage | None = None
    failure: errors.BlobfsError = field(default_factory=lambda: errors.ServiceEnded("the node ends"))

    @property
    def packages(self) -> Set[BlobId]:
        """Those in it, and itself."""
        return frozenset() if self.contents is None else self.contents.parts.keys()

    def has(self, blob: BlobId) -> bool:
        """Whether it is made of this blob, too."""
        contents = self.contents
        return contents is not None and (blob in contents.sizes or blob in contents.metas)

    def name_of(self, blob: BlobId) -> str | None:
        """A file in it that has this content, if it is a large one: those come one by one."""
        if self.contents is None:
            return None
        if self._large is None:
            self._large = self.contents.large_files()
        return self._large.get(blob)


class PackageLoading:
    """`_jobs` are the packages that are being loaded, each as long as somebody waits for it."""

    def __init__(
        self,
        store: Store,
        disk: DiskThreads,
        manifests: Manifests,
        bundles: Bundles,
        whole_blobs: WholeBlobs,
        transactions: Transactions,
    ) -> None:
        self._store = store
        self._disk = disk
        self._manifests = manifests
        self._bundles = bundles
        self._whole_blobs = whole_blobs
        self._transactions = transactions
        self._jobs: dict[BlobId, PackageJob] = {}
        self._nursery: trio.Nursery | None = None

    def __repr__(self) -> str:
        return f"<PackageLoading {[package[:12] for package in self._jobs]}>"

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Owns the loads, until it is cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    async def load(self, package: BlobId, progress: Progress) -> LoadedPackage:
        """Until the package is complete here.

        Raises `WrongContent` for what is no package; the `LoadFailed` of the first blob that could not be
        had, with the name of a file that it is the content of; `StoreError`.
        """
        job = self._jobs.get(package)
        if job is None:
            assert self._nursery is not None
            job = self._jobs[package] = PackageJob()
            self._nursery.start_soon(self._run, package, job)
        job.callers += 1
        progress.include(job.progress)
        try:
            await job.done.wait()
        finally:
            job.callers -= 1
            if not job.callers:
                job.scope.cancel()
                self._forget(package, job)  # whoever comes now begins anew
        if job.loaded is None:
            raise job.failure
        return job.loaded

    def jobs(self) -> Mapping[BlobId, PackageJob]:
        """What is being loaded right now."""
        return self._jobs

    def _forget(self, package: BlobId, job: PackageJob) -> None:
        if self._jobs.get(package) is job:
            del self._jobs[package]

    async def _run(self, package: BlobId, job: PackageJob) -> None:
        try:
            with job.scope:
                job.loaded = await self._load(package, job)
        except errors.BlobfsError as failure:
            job.failure = failure
        except Exception:
            _log.exception("unexpected, in loading the package %s", package)
            job.failure = errors.LoadFailed("unexpected; see the log")
        finally:
            self._forget(package, job)
            job.done.set()

    async def _load(self, package: BlobId, job: PackageJob) -> LoadedPackage:
        progress = job.progress
        contents, metas = await self._manifests.read(package, progress)
        job.contents = contents
        sizes = {blob: size for blob, size in contents.sizes.items() if blob not in contents.metas}
        progress.expect(len(sizes), sum(sizes.values()))
        if await self._disk.run(packages.is_complete, self._store, package):
            progress.found(len(sizes), sum(sizes.values()))
        else:
            absent = await self._disk.run(_absent, self._store, sizes)
            progress.found(len(sizes) - len(absent), sum(sizes.values()) - sum(absent.values()))
            await self._bring(contents, absent, progress)
            for load in metas:
                await self._whole_blobs.wait_kept(load)
            await self._complete(package, contents)
        return _loaded(package, contents.files, progress)

    async def _complete(self, package: BlobId, contents: Contents) -> None:
        """What has been removed in the meantime comes again, and is not counted again."""
        sizes = contents.all_sizes()
        for _ in range(TURNS):
            if await self._transactions.adopt(package):
                return
            absent = await self._disk.run(_absent, self._store, sizes)
            await self._bring(contents, absent, Progress())
        raise errors.StoreBroken(f"the blobs of {package} are removed again while it is being loaded")

    async def _bring(self, contents: Contents, absent: Mapping[BlobId, int], progress: Progress) -> None:
        bundled = {member.blob for part in contents.parts.values() for member in part.members}
        alone = {blob: size for blob, size in absent.items() if blob not in bundled}
        missing: list[errors.BlobfsError | None] = []

        async def load(sizes: Mapping[BlobId, int]) -> None:
            missing.append(await self._whole_blobs.load_all(sizes, contents.name_of, progress))

        with lone_failure():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(load, alone)
                left = await self._load_bundles(contents, bundled & absent.keys(), progress)
                await load({blob: absent[blob] for blob in left})
        for error in missing:
            if error is not None:
                raise error

    async def _load_bundles(self, contents: Contents, wanted: Set[BlobId], progress: Progress) -> Set[BlobId]:
        """What no bundle brought."""
        left = set(wanted)
        for part in contents.parts.values():
            of_part = left.intersection(member.blob for member in part.members)
            if of_part:
                missed = await self._bundles.bring_all(
                    part.package, part.members, of_part, progress.loaded, progress.flow
                )
                left -= of_part - missed
        return left


def _loaded(package: BlobId, files: int, progress: Progress) -> LoadedPackage:
    figures = progress.figures()
    return LoadedPackage(
        package,
        files,
        figures.total_blobs,
        figures.total_bytes,
        figures.loaded_blobs,
        figures.loaded_bytes,
    )


def _absent(store: Store, sizes: Mapping[BlobId, int]) -> dict[BlobId, int]:
    """Those that are not in the store. Blocks."""
    return {blob: size for blob, size in sizes.items() if not sealed.has(store, blob)}
