"""Makes the store's disk fail: system calls on paths and descriptors below a directory are counted, and some
of them refused.

What the store calls is replaced while an `Injection` is on: functions of `os`, `xattr`'s three, syncfs(2) of
`blobfs.store.flush`, and `open`, whose reads and writes go past `os`. A call counts when its path or its
descriptor lies in the store; the kernel is asked where a descriptor lies. fstat(2) and close(2) never fail:
they do no I/O of their own.
"""

import builtins
import ctypes
import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import xattr

from blobfs.store import flush
from tests.disk_faults.plan import Fault, Operation, Plan

_READS_PATH = ("listdir", "scandir", "stat", "lstat", "readlink", "statvfs")
_READS_FD = ("pread", "preadv", "read", "fstatvfs")
_CHANGES_PATH = ("unlink", "mkdir", "rmdir", "chmod", "utime", "truncate", "remove")
_CHANGES_FD = ("fsync", "fdatasync", "fchmod", "ftruncate", "posix_fallocate")
_CHANGES_TWO = ("rename", "replace", "link")
_XATTRS = (("getxattr", False), ("setxattr", True), ("removexattr", True))
_WRITES = ("pwrite", "write")
_OPENS_TO_CHANGE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

_os_readlink = os.readlink
_os_strerror = os.strerror


class Injection:
    """Counts what is done to the store at `root`, and refuses what the plan says.

    Mutable, under a lock: `plan`, which may be set at any time and counts from then on; `made`, the
    operations so far, if they are to be kept; `hits`, how many were refused since the plan was set.
    """

    def __init__(self, root: Path, plan: Plan | None = None, *, keep: bool = False) -> None:
        self._root = os.path.realpath(root)
        self._lock = threading.Lock()
        self._keep = keep
        self._count = 0
        self._is_short = False
        self._undo: list[tuple[Any, str, Any]] = []
        self.plan = plan
        self.made: list[Operation] = []
        self.hits = 0

    def __enter__(self) -> Self:
        self._replace_all()
        return self

    def __exit__(self, *_: object) -> None:
        for owner, name, original in reversed(self._undo):
            setattr(owner, name, original)
        self._undo.clear()

    def set_plan(self, plan: Plan | None) -> None:
        """Counts from here; None is a disk that works."""
        with self._lock:
            self.plan, self._count, self._is_short, self.hits = plan, 0, False, 0

    # What is decided

    def check(self, call: str, place: Any, changes: bool) -> bool:
        """Counts a call that is about to be made. Raises the OSError; True asks for a short write."""
        path = self._below(place)
        if path is None:
            return False
        operation = Operation(call, path, changes)
        with self._lock:
            if self._keep:
                self.made.append(operation)
            if self.plan is None or not self._is_refused(self.plan, operation):
                return False
            self.hits += 1
            number = self.plan.fault.errno
            if self.plan.fault is Fault.SHORT and not self._is_short:
                self._is_short = True
                return True
            self._is_short = self.plan.lasting
        shown = () if isinstance(place, int) else (os.fspath(place),)
        raise OSError(number, _os_strerror(number), *shown)

    def _is_refused(self, plan: Plan, operation: Operation) -> bool:
        if self._is_short:  # the write after a short one; if it lasts, all that would change something
            return operation.changes if plan.lasting else operation.is_write
        if not plan.fault.concerns(operation):
            return False
        self._count += 1
        return self._count >= plan.at if plan.lasting else self._count == plan.at

    def _below(self, place: Any) -> str | None:
        """Relative to the store; None for what is elsewhere."""
        try:
            path = _os_readlink(f"/proc/self/fd/{place}") if isinstance(place, int) else os.fspath(place)
        except (OSError, TypeError):
            return None
        text = os.fsdecode(path).removesuffix(" (deleted)")
        if text == self._root:
            return "."
        return text[len(self._root) + 1 :] if text.startswith(f"{self._root}/") else None

    def _placed(self, path: Any, dir_fd: int | None) -> Any:
        if dir_fd is None or not isinstance(path, str):
            return path
        return os.path.join(_os_readlink(f"/proc/self/fd/{dir_fd}"), path)

    # What is replaced

    def _replace(self, owner: Any, name: str, wrapped: Callable[[Any], Any]) -> None:
        original = getattr(owner, name)
        self._undo.append((owner, name, original))
        setattr(owner, name, wrapped(original))

    def _replace_all(self) -> None:
        for names, changes in ((_READS_PATH + _READS_FD, False), (_CHANGES_PATH + _CHANGES_FD, True)):
            for name in names:
                self._replace(os, name, self._one(name, changes))
        for name in _CHANGES_TWO:
            self._replace(os, name, self._two(name))
        for name in _WRITES:
            self._replace(os, name, self._write(name))
        self._replace(os, "open", self._open)
        for name, changes in _XATTRS:
            self._replace(xattr, name, self._one(name, changes))
        self._replace(flush._libc, "syncfs", self._syncfs)
        for module in (io, builtins):
            self._replace(module, "open", self._file)

    def _one(self, name: str, changes: bool) -> Callable[[Any], Any]:
        def wrapped(original: Any) -> Any:
            def call(place: Any = ".", *args: Any, **named: Any) -> Any:
                self.check(name, self._placed(place, named.get("dir_fd")), changes)
                return original(place, *args, **named)

            return call

        return wrapped

    def _two(self, name: str) -> Callable[[Any], Any]:
        def wrapped(original: Any) -> Any:
            def call(source: Any, target: Any, **named: Any) -> Any:
                self.check(name, target, True)
                return original(source, target, **named)

            return call

        return wrapped

    def _write(self, name: str) -> Callable[[Any], Any]:
        def wrapped(original: Any) -> Any:
            def call(fd: int, content: Any, *args: Any) -> Any:
                if self.check(name, fd, True) and len(content) > 1:
                    content = memoryview(content)[: len(content) // 2]
                return original(fd, content, *args)

            return call

        return wrapped

    def _open(self, original: Any) -> Any:
        def call(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            self.check("open", self._placed(path, dir_fd), bool(flags & _OPENS_TO_CHANGE))
            opened: int = original(path, flags, mode, dir_fd=dir_fd)
            return opened

        return call

    def _syncfs(self, original: Any) -> Any:
        def call(fd: int) -> int:
            try:
                self.check("syncfs", fd, True)
            except OSError as failure:
                ctypes.set_errno(failure.errno or 0)
                return -1
            done: int = original(fd)
            return done

        return call

    def _file(self, original: Any) -> Any:
        def call(file: Any, mode: str = "r", buffering: int = -1, *args: Any, **named: Any) -> Any:
            if self._below(file) is None:
                return original(file, mode, buffering, *args, **named)
            return _opened(_RawFile(self, file, mode), mode, *args, **named)

        return call


class _RawFile(io.FileIO):
    """What `open` opens in the store: its reads and writes count."""

    def __init__(self, injection: Injection, file: Any, mode: str) -> None:
        self._injection = injection
        changes = not set(mode).isdisjoint("wax+")
        if not isinstance(file, int):
            injection.check("open", file, changes)
        super().__init__(file, mode.replace("b", "").replace("t", ""))

    def readinto(self, buffer: Any) -> int:
        self._injection.check("read", self.fileno(), False)
        return super().readinto(buffer)

    def readall(self) -> bytes:
        self._injection.check("read", self.fileno(), False)
        return super().readall()

    def write(self, content: Any) -> int:
        if self._injection.check("write", self.fileno(), True) and len(content) > 1:
            content = memoryview(content)[: len(content) // 2]
        return super().write(content)


def _opened(raw: _RawFile, mode: str, *args: Any, **named: Any) -> Any:
    """With the buffers that `open` puts on a file."""
    file: Any
    if "+" in mode:
        file = io.BufferedRandom(raw)
    else:
        file = io.BufferedReader(raw) if "r" in mode else io.BufferedWriter(raw)
    return file if "b" in mode else io.TextIOWrapper(file, *args, **named)
