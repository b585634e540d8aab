"""What the file system says about its files, and what it is asked to change. Values only.

These are the types of the interface between the file system (vfs.filesystem) and whoever calls it:
the kernel's adapter, or a test. Modes carry the file type bits; names are bytes, as the kernel has them.
"""

from dataclasses import dataclass

from blobfs.model import CHUNK_SIZE

NO_INODE = 0
"""Of what is not there. In the answer to a lookup: the kernel may believe that for as long as any name."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """A file as ``stat`` shows it, and for how long the kernel may believe it."""

    inode: int
    mode: int
    """With the file type bits."""
    size: int
    blocks: int
    """Units of 512 bytes that are present here."""
    mtime_ns: int
    ctime_ns: int
    nlink: int
    uid: int
    gid: int
    entry_timeout: float
    """Seconds for which the name means this inode."""
    attr_timeout: float
    """Seconds for which everything else here holds."""
    piece: int = CHUNK_SIZE
    """Bytes that programs take as the size of their buffers: a round trip each. A chunk is read as a whole
    anyway; a larger piece would fetch more than was asked for of what is not here."""


@dataclass(frozen=True, slots=True)
class Change:
    """What ``setattr`` asks for; None leaves a field as it is."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    mtime_ns: int | None = None
    atime_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """An open file."""

    handle: int
    keep_cache: bool
    """Whether what the kernel has cached of the file is still good."""
    direct_io: bool = False
    """Whether each read and write comes here as it was made, and nothing of it is cached."""
    needs_flush: bool = True
    """Whether each close of a duplicate is to be told of."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The process that asks; all zero when the kernel asks on its own."""

    pid: int
    uid: int
    gid: int
    umask: int


@dataclass(frozen=True, slots=True)
class DirEntry:
    """One line of a directory."""

    name: bytes
    attributes: Attributes
    cookie: int
    """Where to continue after this entry."""


@dataclass(frozen=True, slots=True)
class Statvfs:
    """The file system's room."""

    block_size: int
    blocks: int
    free: int
    available: int
    files: int
    files_free: int
    name_max: int
