"""The manifests of a package and of the packages in it are brought here, and read.

Level by level, those of one level side by side. A manifest is brought like any blob, whatever time that
takes, before its tree is asked for: that question is bounded as a lookup in the mount is.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager

import trio

from blobfs import errors
from blobfs.manifest import MAX_MANIFEST_BYTES, MAX_NESTING
from blobfs.model import BlobId
from blobfs.sync.background import lone_failure
from blobfs.sync.disk import DiskThreads
from blobfs.sync.loading.load import Load
from blobfs.sync.packages.contents import Contents, Nesting, Part
from blobfs.sync.packages.failing import naming
from blobfs.sync.packages.progress import Progress
from blobfs.sync.packages.trees import PackageTrees
from blobfs.sync.packages.whole_blobs import WholeBlobs

AT_A_TIME = 16
"""Manifests of one level."""

FindBlob = Callable[[BlobId], Awaitable[int | None]]
"""The size of a blob; None is absent everywhere."""


class Manifests:
    """Holds no state of its own."""

    def __init__(
        self, disk: DiskThreads, find_blob: FindBlob, whole_blobs: WholeBlobs, trees: PackageTrees
    ) -> None:
        self._disk = disk
        self._find_blob = find_blob
        self._whole_blobs = whole_blobs
        self._trees = trees

    async def read(self, package: BlobId, progress: Progress) -> tuple[Contents, list[Load]]:
        """What the package is made of, and the loads of manifests that still have to be kept.

        Raises `WrongContent` for what is no package; `LoadFailed`, `StoreError`.
        """
        contents = Contents()
        loads: list[Load] = []
        level = [Nesting(package, 1, b"")]
        for _ in range(MAX_NESTING + 1):
            await self._bring_level(level, contents, loads, progress)
            level = await self._read_level(level, contents)
            if not level:
                return contents, loads
        raise errors.WrongContent(f"{package} has packages in packages, more than {MAX_NESTING} deep")

    async def _bring_level(
        self, level: Iterable[Nesting], contents: Contents, loads: list[Load], progress: Progress
    ) -> None:
        turns = trio.Semaphore(AT_A_TIME)

        async def bring(nesting: Nesting) -> None:
            async with turns:
                size, load = await self._bring(nesting, progress)
            contents.metas[nesting.package] = size
            if load is not None:
                loads.append(load)

        with lone_failure():
            async with trio.open_nursery() as nursery:
                for nesting in level:
                    if nesting.package not in contents.metas:
                        nursery.start_soon(bring, nesting)

    async def _bring(self, nesting: Nesting, progress: Progress) -> tuple[int, Load | None]:
        package = nesting.package
        with _naming(nesting):
            size = await self._find_blob(package)
            if size is None:
                raise errors.AbsentEverywhere(f"no share has the package {package}")
            if size > MAX_MANIFEST_BYTES:
                raise errors.WrongContent(f"the blob {package} is no package: it has {size} bytes")
            progress.expect(1, size)
            return size, await self._whole_blobs.bring(package, size, progress)

    async def _read_level(self, level: Iterable[Nesting], contents: Contents) -> list[Nesting]:
        below: dict[BlobId, Nesting] = {}
        for nesting in level:
            part = contents.parts.get(nesting.package) or await self._part(nesting)
            for inner in await self._disk.run(contents.add, part, nesting.times):
                known = below.get(inner.package)
                below[inner.package] = inner if known is None else known.and_also(inner.times)
        return list(below.values())

    async def _part(self, nesting: Nesting) -> Part:
        with _naming(nesting):
            tree = await self._trees.tree(nesting.package, ask_shares=True)
        return Part(nesting.package, tree.manifest, tree.members, nesting.place)


@contextmanager
def _naming(nesting: Nesting) -> Iterator[None]:
    """Errors of a package in another one say where it stands."""
    try:
        yield
    except (errors.LoadFailed, errors.WrongContent) as error:
        if not nesting.place:
            raise
        raise naming(nesting.place.decode("utf-8", "backslashreplace"), error) from error
