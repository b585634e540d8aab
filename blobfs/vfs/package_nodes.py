"""The inodes of packages: one for each path in a package. What they show comes from its manifest, for ever."""

from dataclasses import dataclass, field

from blobfs.model import BlobId
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
    """A file in a package. Its content is settled; mode and time are as in the manifest."""

    package: BlobId = field(kw_only=True)


@dataclass(eq=False)
class PackageLink(Node):
    """A symlink in a package: its target is any bytes, and may lead anywhere."""

    target: bytes = field(kw_only=True)
