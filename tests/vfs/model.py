"""What the mount should be: a dictionary of paths, and the rules of docs/semantics.md in a few lines.

Each operation of `Model` returns what the same operation of `tests.vfs.kernel.Kernel` returns, or raises
the same errno. Times and modes are compared where somebody has set them.
"""

import errno
from dataclasses import dataclass, field


class Refused(Exception):
    """An operation that fails, with its errno."""

    def __init__(self, number: int) -> None:
        super().__init__(errno.errorcode[number])
        self.number = number


@dataclass(eq=False)
class File:
    """Shared by all its names and by the descriptors that are open on it."""

    content: bytes = b""
    mode: int | None = 0o644
    mtime_ns: int | None = None
    """None: whatever the clock said."""
    writers: int = 1
    is_synced: bool = False
    """Fsynced since the last change: closed like that, it survives a crash."""
    is_safe: bool = False
    """A crash must not lose it."""
    is_settled: bool = False
    """Sealed for certain: from then on its mode and its time are on the disk as soon as they are set."""
    is_linked: bool = False
    """It had a second name, and what is set through one may or may not show under the other."""

    @property
    def is_sealed(self) -> bool:
        return self.writers == 0


class Directory:
    pass


@dataclass(eq=False)
class Link:
    target: str


Node = File | Directory | Link


@dataclass
class Model:
    nodes: dict[str, Node] = field(default_factory=lambda: {"": Directory()})
    slots: dict[int, File] = field(default_factory=dict)
    """Descriptors that are open for writing."""

    # Paths, in the order in which the kernel looks at them

    def find(self, path: str) -> Node:
        self._parent(path)
        return self._get(path)

    def _get(self, path: str) -> Node:
        if path not in self.nodes:
            raise Refused(errno.ENOENT)
        return self.nodes[path]

    def _parent(self, path: str) -> None:
        directory = path.rpartition("/")[0]
        if directory:
            self._parent(directory)
        if not isinstance(self._get(directory), Directory):
            raise Refused(errno.ENOTDIR)

    def _new(self, path: str) -> None:
        self._parent(path)
        if path in self.nodes:
            raise Refused(errno.EEXIST)

    def _file(self, path: str) -> File:
        match self.find(path):
            case File() as file:
                return file
            case Directory():
                raise Refused(errno.EISDIR)
        raise Refused(errno.ELOOP)

    def _below(self, path: str) -> list[str]:
        return sorted(name for name in self.nodes if name.startswith(f"{path}/" if path else "") and name)

    # Files

    def create(self, slot: int, path: str, mode: int) -> None:
        self._new(path)
        self.nodes[path] = self.slots[slot] = File(mode=mode)

    def open(self, slot: int, path: str, truncate: bool) -> None:
        file = self._file(path)
        if file.is_sealed:
            raise Refused(errno.EPERM)
        file.writers += 1
        if truncate:
            self._change(file, b"")
        self.slots[slot] = file

    def write(self, slot: int, offset: int, raw: bytes) -> None:
        file = self.slots[slot]
        before = file.content.ljust(offset, b"\0")
        self._change(file, before[:offset] + raw + before[offset + len(raw) :])

    def truncate(self, path: str, size: int) -> None:
        file = self._file(path)
        if file.is_sealed:
            raise Refused(errno.EPERM)
        self._change(file, file.content[:size].ljust(size, b"\0"))

    def _change(self, file: File, content: bytes) -> None:
        file.content, file.mtime_ns, file.is_synced = content, None, False

    def fsync(self, slot: int) -> None:
        self.slots[slot].is_synced = True

    def close(self, slot: int) -> None:
        file = self.slots.pop(slot)
        file.writers -= 1
        file.is_safe = file.is_safe or (file.is_sealed and file.is_synced)

    def read(self, path: str) -> bytes:
        return self._file(path).content

    # Names

    def mkdir(self, path: str) -> None:
        self._new(path)
        self.nodes[path] = Directory()

    def rmdir(self, path: str) -> None:
        if not isinstance(self.find(path), Directory):
            raise Refused(errno.ENOTDIR)
        if self._below(path):
            raise Refused(errno.ENOTEMPTY)
        del self.nodes[path]

    def unlink(self, path: str) -> None:
        if isinstance(self.find(path), Directory):
            raise Refused(errno.EISDIR)
        del self.nodes[path]

    def symlink(self, path: str, target: str) -> None:
        self._new(path)
        if target.split("/").count("..") > path.count("/"):
            raise Refused(errno.EINVAL)
        self.nodes[path] = Link(target)

    def readlink(self, path: str) -> str:
        node = self.find(path)
        if not isinstance(node, Link):
            raise Refused(errno.EINVAL)
        return node.target

    def link(self, path: str, new_path: str) -> None:
        node = self.find(path)
        self._new(new_path)
        if not isinstance(node, File) or not node.is_sealed:
            raise Refused(errno.EPERM)
        node.is_linked = True
        self.nodes[new_path] = node

    def rename(self, path: str, new_path: str) -> None:
        self._parent(path)
        self._parent(new_path)
        node = self._get(path)
        target = self.nodes.get(new_path)
        if target is node and isinstance(node, File) and path != new_path:
            raise Unclear  # two names of one inode, or of two: POSIX does nothing then, or something
        if target is node:
            return
        if isinstance(node, Directory):
            self._rename_directory(path, new_path, target)
            return
        if isinstance(target, Directory):
            raise Refused(errno.EISDIR)
        if isinstance(node, Link) and node.target.split("/").count("..") > new_path.count("/"):
            raise Refused(errno.EINVAL)
        self.nodes[new_path] = self.nodes.pop(path)

    def _rename_directory(self, path: str, new_path: str, target: Node | None) -> None:
        if f"{new_path}/".startswith(f"{path}/"):
            raise Refused(errno.EINVAL)
        if target is not None and not isinstance(target, Directory):
            raise Refused(errno.ENOTDIR)
        if self._below(new_path):
            raise Refused(errno.ENOTEMPTY)
        moves = {old: new_path + old[len(path) :] for old in [path, *self._below(path)]}
        for old, new in moves.items():
            node = self.nodes[old]
            if isinstance(node, Link) and node.target.split("/").count("..") > new.count("/"):
                raise Refused(errno.EINVAL)
        self.nodes.pop(new_path, None)
        for old, new in moves.items():
            self.nodes[new] = self.nodes.pop(old)

    def listdir(self, path: str) -> list[str]:
        node = self.find(path) if path else self.nodes[""]
        if not isinstance(node, Directory):
            raise Refused(errno.ENOTDIR)
        prefix = f"{path}/" if path else ""
        below = (name[len(prefix) :] for name in self._below(path))
        return [name for name in below if "/" not in name]

    # Attributes

    def chmod(self, path: str, mode: int) -> None:
        self._file(path).mode = mode

    def utimens(self, path: str, mtime_ns: int) -> None:
        self._file(path).mtime_ns = mtime_ns

    # What happens to all of it

    def settle(self) -> None:
        """The directory of each file was fsynced."""
        for node in self.nodes.values():
            if isinstance(node, File) and node.is_sealed:
                node.is_safe = node.is_settled = True

    def restart(self) -> None:
        """What was being written is gone; what was closed is there."""
        self.slots.clear()
        for path, node in list(self.nodes.items()):
            if isinstance(node, File) and not node.is_sealed:
                del self.nodes[path]


class Unclear(Exception):
    """The outcome depends on what the kernel remembers: the operation is left out."""
