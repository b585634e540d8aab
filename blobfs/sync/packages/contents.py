"""What a package is made of, nested packages included. Made of trees; no I/O, no trio."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from blobfs import errors
from blobfs.bundle import BUNDLED_UP_TO, Member
from blobfs.manifest import File, Manifest, Nested
from blobfs.model import BlobId


@dataclass(frozen=True, slots=True)
class Part:
    """One package of them, once, however often it is nested."""

    package: BlobId
    manifest: Manifest
    members: tuple[Member, ...]
    place: bytes
    """Where it stands first, as a path in the outermost one; b"" is that one itself."""


@dataclass(frozen=True, slots=True)
class Nesting:
    """A package in another one."""

    package: BlobId
    times: int
    """In so many places of one level."""
    place: bytes
    """The first of them."""

    def and_also(self, times: int) -> "Nesting":
        """The same package, in so many more places."""
        return replace(self, times=self.times + times)


@dataclass(eq=False)
class Contents:
    """Grows from the outermost package inwards."""

    parts: dict[BlobId, Part] = field(default_factory=dict)
    metas: dict[BlobId, int] = field(default_factory=dict)
    """The size of each manifest, set before it is added."""
    sizes: dict[BlobId, int] = field(default_factory=dict)
    """The content blobs; one that is a manifest too stands there only if it is some file's content."""
    files: int = 0
    """As somebody counts them who looks at the tree."""

    def add(self, part: Part, times: int) -> list[Nesting]:
        """A package that stands in `times` places of a level; the packages in it.

        Raises `WrongContent` when it contradicts another one.
        """
        is_new = part.package not in self.parts
        self.parts.setdefault(part.package, part)
        nested: Counter[BlobId] = Counter()
        places: dict[BlobId, bytes] = {}
        for entry in part.manifest.entries:
            if isinstance(entry, File):
                self.files += times
            elif isinstance(entry, Nested):
                nested[entry.package] += times
                places.setdefault(entry.package, _below(part.place, entry.path))
        if is_new:
            self._add_sizes(part.manifest.blobs())
        return [Nesting(package, count, places[package]) for package, count in nested.items()]

    def _add_sizes(self, sizes: Mapping[BlobId, int]) -> None:
        for blob, size in sizes.items():
            if self.sizes.setdefault(blob, size) != size:
                raise errors.WrongContent(
                    f"one manifest gives {blob} {size} bytes, another {self.sizes[blob]}"
                )

    def all_sizes(self) -> dict[BlobId, int]:
        """Every blob of the package."""
        return self.sizes | self.metas

    def large_files(self) -> dict[BlobId, str]:
        """A file for each content that is not bundled, for people."""
        return {
            entry.blob: _below(part.place, entry.path).decode("utf-8", "backslashreplace")
            for part in self.parts.values()
            for entry in part.manifest.entries
            if isinstance(entry, File) and entry.size > BUNDLED_UP_TO
        }

    def name_of(self, blob: BlobId) -> str:
        """A file that has this content, for people."""
        for part in self.parts.values():
            for entry in part.manifest.entries:
                if isinstance(entry, File) and entry.blob == blob:
                    return _below(part.place, entry.path).decode("utf-8", "backslashreplace")
        return blob


def _below(place: bytes, path: bytes) -> bytes:
    return place + b"/" + path if place else path
