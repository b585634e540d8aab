"""The inodes of packages, one for each path in one. What they show is its manifest's, and never changes."""

from dataclasses import dataclass, field

from blobfs.model import BlobId
from blobfs.record import BlobRecord
from blobfs.vfs.nodes import Container, FileNode, Node


@dataclass(eq=False)
class PackageDirectory(Container):
    """A directory in a package, or the root of one."""

    package: BlobId = field(kw_only=True)
    path: bytes = b""
    """In the package; empty for its root."""
    mode: int = 0o755
    depth: int = 0
    """How many packages are around this one."""

    @property
    def is_entrance(self) -> bool:
        """Whether it stands in `.blobfs/packages`, where packages come and go."""
        return not self.path and not self.depth


@dataclass(eq=False)
class PackageFile(FileNode):
    """A file in a package: its blob, mode and time are the manifest's, and never change."""

    package: BlobId = field(kw_only=True)
    record: BlobRecord = field(kw_only=True)
    """As `Settled` has one, but with whatever mode the manifest says."""


@dataclass(eq=False)
class PackageLink(Node):
    """A symlink in a package: its target is any bytes, and may lead anywhere."""

    target: bytes = field(kw_only=True)
