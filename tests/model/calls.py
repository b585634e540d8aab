"""The system calls themselves, one method each: ``python -m tests.model.calls MOUNTPOINT`` (see `worker`).

Paths are relative to the mount; descriptors that stay open are known by a slot, a small number.
"""

import contextlib
import ctypes
import errno
import mmap
import os
import stat
import sys
from pathlib import Path

from tests.model.worker import receive, send

MS_REMOUNT, MS_NOSUID, MS_NODEV = 32, 2, 4
RENAME_NOREPLACE = 1
AT_FDCWD = -100
STEP = 1 << 20

_libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), "")


class Calls:
    def __init__(self, mountpoint: Path) -> None:
        self._root = mountpoint
        self._slots: dict[int, int] = {}

    def _at(self, path: str) -> str:
        return os.path.join(self._root, path)

    # Descriptors

    def open(self, slot: int, path: str, flags: int, mode: int) -> None:
        self._slots[slot] = os.open(self._at(path), flags | os.O_NOFOLLOW, mode)

    def close(self, slot: int) -> None:
        os.close(self._slots.pop(slot))

    def close_copy(self, slot: int) -> None:
        os.close(os.dup(self._slots[slot]))

    def pwrite(self, slot: int, offset: int, raw: bytes) -> int:
        return os.pwrite(self._slots[slot], raw, offset)

    def append(self, slot: int, raw: bytes) -> int:
        return os.write(self._slots[slot], raw)

    def pread(self, slot: int, offset: int, length: int) -> bytes:
        return os.pread(self._slots[slot], length, offset)

    def ftruncate(self, slot: int, size: int) -> None:
        os.ftruncate(self._slots[slot], size)

    def fsync(self, slot: int) -> None:
        os.fsync(self._slots[slot])

    def map_write(self, slot: int, offset: int, raw: bytes) -> None:
        with mmap.mmap(self._slots[slot], 0) as mapping:
            mapping[offset : offset + len(raw)] = raw
            mapping.flush()

    def map_read(self, slot: int) -> bytes:
        with mmap.mmap(self._slots[slot], 0, prot=mmap.PROT_READ) as mapping:
            return bytes(mapping)

    # Files as a whole

    def put(self, path: str, raw: bytes, mode: int) -> None:
        descriptor = os.open(self._at(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            for start in range(0, len(raw), STEP):
                os.write(descriptor, raw[start : start + STEP])
        finally:
            os.close(descriptor)

    def write_exact(self, path: str, raw: bytes) -> None:
        """The first error is the one of the open, a write or the close."""
        descriptor = os.open(self._at(path), os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            for start in range(0, len(raw), STEP):
                os.write(descriptor, raw[start : start + STEP])
        except OSError:
            with contextlib.suppress(OSError):
                os.close(descriptor)
            raise
        os.close(descriptor)

    def cat(self, path: str) -> bytes:
        descriptor = os.open(self._at(path), os.O_RDONLY)
        try:
            return b"".join(iter(lambda: os.read(descriptor, STEP), b""))
        finally:
            os.close(descriptor)

    def cat_range(self, path: str, offset: int, length: int) -> bytes:
        descriptor = os.open(self._at(path), os.O_RDONLY)
        try:
            return os.pread(descriptor, length, offset)
        finally:
            os.close(descriptor)

    def truncate(self, path: str, size: int) -> None:
        os.truncate(self._at(path), size)

    # Names

    def mkdir(self, path: str) -> None:
        os.mkdir(self._at(path))

    def rmdir(self, path: str) -> None:
        os.rmdir(self._at(path))

    def unlink(self, path: str) -> None:
        os.unlink(self._at(path))

    def rename(self, path: str, new_path: str) -> None:
        os.rename(self._at(path), self._at(new_path))

    def rename_noreplace(self, path: str, new_path: str) -> None:
        old, new = os.fsencode(self._at(path)), os.fsencode(self._at(new_path))
        checked(_libc.renameat2(AT_FDCWD, old, AT_FDCWD, new, RENAME_NOREPLACE))

    def link(self, path: str, new_path: str) -> None:
        os.link(self._at(path), self._at(new_path), follow_symlinks=False)

    def symlink(self, path: str, target: str) -> None:
        os.symlink(target, self._at(path))

    def readlink(self, path: str) -> str:
        return os.readlink(self._at(path))

    def listdir(self, path: str) -> list[str]:
        return sorted(os.listdir(self._at(path)))

    # Attributes

    def stat(self, path: str) -> tuple[int, int]:
        """The kind and the size."""
        found = os.lstat(self._at(path))
        return stat.S_IFMT(found.st_mode), found.st_size if stat.S_ISREG(found.st_mode) else 0

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(self._at(path), mode)

    def utimens(self, path: str, mtime_ns: int) -> None:
        os.utime(self._at(path), ns=(mtime_ns, mtime_ns), follow_symlinks=False)

    def getxattr(self, path: str, name: str) -> str:
        return os.getxattr(self._at(path), f"user.blobfs.{name}").decode()

    def setxattr(self, path: str, name: str, value: str) -> None:
        os.setxattr(self._at(path), f"user.blobfs.{name}", value.encode())

    def glimpse(self, path: str) -> tuple[object, ...] | None:
        """What a name means, without its content."""
        try:
            status = os.lstat(self._at(path))
            if stat.S_ISLNK(status.st_mode):
                return ("link", os.readlink(self._at(path)))
            if stat.S_ISDIR(status.st_mode):
                return ("dir",)
            return ("file", self.getxattr(path, "id"), stat.S_IMODE(status.st_mode), status.st_mtime_ns)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return None
            raise

    # What is not one call

    def sync_directory(self, path: str) -> None:
        descriptor = os.open(self._at(path), os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def forget(self) -> None:
        """The kernel drops what it remembers of names, as under memory pressure."""
        target = os.fsencode(self._root)
        checked(_libc.mount(None, target, None, MS_REMOUNT | MS_NOSUID | MS_NODEV, None))

    def settled_tree(self, path: str) -> dict[str, tuple[object, ...]]:
        """Everything below a directory, after the seals of what was closed, with all there is to be seen."""
        found: dict[str, tuple[object, ...]] = {}
        for name in self.listdir(path):
            child = f"{path}/{name}"
            status = os.lstat(self._at(child))
            found[child] = self._seen(child, status)
            if stat.S_ISDIR(status.st_mode):
                found |= self.settled_tree(child)
        return found

    def _seen(self, path: str, status: os.stat_result) -> tuple[object, ...]:
        if stat.S_ISDIR(status.st_mode):
            return ("dir", status.st_mtime_ns)
        if stat.S_ISLNK(status.st_mode):
            return ("link", os.readlink(self._at(path)), status.st_mtime_ns)
        try:
            blob = self.getxattr(path, "id")
        except OSError:
            blob = ""
        status = os.lstat(self._at(path))
        return (
            "file",
            self.cat(path),
            stat.S_IMODE(status.st_mode),
            status.st_mtime_ns,
            status.st_size,
            blob,
        )


def main() -> None:
    os.umask(0)
    calls = Calls(Path(sys.argv[1]))
    while (message := receive(sys.stdin.buffer)) is not None:
        verb, arguments = message
        try:
            answer = (True, getattr(calls, verb)(*arguments))
        except OSError as error:
            answer = (False, error.errno or -1)
        send(sys.stdout.buffer, answer)


if __name__ == "__main__":
    main()
