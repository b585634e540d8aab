"""What a tree is made of, found without reading a file: its entries, and everything that cannot be packed.

Symlinks are entries and never followed, hard links are just files, and what lies on another file system is
part of the tree. All that a manifest cannot hold is found here, so that it is named before gigabytes are
hashed. Serial: a thousand files take three milliseconds, and threads would share one interpreter.
"""

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from blobfs.cli.pack_problems import Problem
from blobfs.cli.pack_source import Source, SourceFile, Stamp
from blobfs.manifest import FIRST_SECOND, LAST_SECOND, MAX_PATH_BYTES, Directory, Link
from blobfs.model import MAX_COMPONENT_BYTES
from blobfs.record import MAX_BLOB_SIZE, MAX_TARGET_BYTES

_SPECIAL_BITS = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
_KINDS = frozenset({stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK})
_OTHER_KINDS = {
    stat.S_IFSOCK: "a socket",
    stat.S_IFIFO: "a fifo",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_NS = 1_000_000_000

Place = tuple[int, int]
"""Device and inode of a directory."""


@dataclass(slots=True)
class Tree:
    """In the order in which it was found, which is whatever the file systems say."""

    files: list[SourceFile] = field(default_factory=list)
    others: list[Directory | Link] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def scan_tree(source: Source, mount: Place, *, keeps_times: bool = True) -> Tree:
    """`mount` is the root of the mount that is written to; the tree may not hold it."""
    return _Scan(source, mount, keeps_times).run()


class _Scan:
    def __init__(self, source: Source, mount: Place, keeps_times: bool) -> None:
        self._source = source
        self._mount = mount
        self._keeps_times = keeps_times
        self._tree = Tree()
        self._directories = [b""]
        """Those that are yet to be listed: a stack, because a tree may be deeper than Python's."""

    def run(self) -> Tree:
        root = os.fstat(self._source.fd)
        if (root.st_dev, root.st_ino) == self._mount:
            self._refuse(b"", "it is the mount itself")
            return self._tree
        while self._directories:
            path = self._directories.pop()
            try:
                self._list(path)
            except OSError as error:
                self._refuse(path, error.strerror or str(error))
        return self._tree

    def _list(self, directory: bytes) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(directory or b".", flags, dir_fd=self._source.fd)
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    name = os.fsencode(entry.name)
                    path = directory + b"/" + name if directory else name
                    try:
                        self._take(path, entry.stat(follow_symlinks=False), fd)
                    except OSError as error:
                        self._refuse(path, error.strerror or str(error))
        finally:
            os.close(fd)

    def _take(self, path: bytes, found: os.stat_result, parent: int) -> None:
        """One entry of the directory that is open as `parent`."""
        name = path.rpartition(b"/")[2]
        reasons = [*_path_problems(path, name), *_mode_problems(found.st_mode)]
        if stat.S_ISREG(found.st_mode):
            reasons += self._file_problems(name, found, parent)
            self._tree.files.append(SourceFile(path, stat.S_IMODE(found.st_mode), Stamp.of(found)))
        elif stat.S_ISDIR(found.st_mode):
            self._tree.others.append(Directory(path, stat.S_IMODE(found.st_mode)))
            if (found.st_dev, found.st_ino) == self._mount:
                reasons.append("it is the mount itself")
            elif len(path) <= MAX_PATH_BYTES:
                self._directories.append(path)
        elif stat.S_ISLNK(found.st_mode):
            target = os.readlink(name, dir_fd=parent)
            if not 0 < len(target) <= MAX_TARGET_BYTES:
                reasons.append(f"a target of {len(target)} bytes; it has 1 to {MAX_TARGET_BYTES}")
            self._tree.others.append(Link(path, target))
        for reason in reasons:
            self._refuse(path, reason)

    def _file_problems(self, name: bytes, found: os.stat_result, parent: int) -> Iterator[str]:
        if not os.access(name, os.R_OK, dir_fd=parent, effective_ids=True):
            yield os.strerror(errno.EACCES)
        if found.st_size > MAX_BLOB_SIZE:
            yield f"{found.st_size} bytes; a file has at most {MAX_BLOB_SIZE}"
        if self._keeps_times and not FIRST_SECOND <= found.st_mtime_ns // _NS <= LAST_SECOND:
            yield "its time is outside the years 1 to 9999; --mtime sets all times"

    def _refuse(self, path: bytes, reason: str) -> None:
        self._tree.problems.append(Problem(path, reason))


def _path_problems(path: bytes, name: bytes) -> Iterator[str]:
    if len(path) > MAX_PATH_BYTES:
        yield f"a path of {len(path)} bytes; it has at most {MAX_PATH_BYTES}"
    if len(name) > MAX_COMPONENT_BYTES:
        yield f"a name of {len(name)} bytes; it has at most {MAX_COMPONENT_BYTES}"


def _mode_problems(mode: int) -> Iterator[str]:
    kind = stat.S_IFMT(mode)
    if kind not in _KINDS:
        yield f"{_OTHER_KINDS.get(kind, 'what it is')} cannot be in a package"
    if mode & _SPECIAL_BITS and kind != stat.S_IFLNK:  # of a symlink they mean nothing
        bits = (stat.S_ISUID, "set-user-id"), (stat.S_ISGID, "set-group-id"), (stat.S_ISVTX, "sticky")
        yield f"the {' and '.join(name for bit, name in bits if mode & bit)} bit cannot be in a package"
