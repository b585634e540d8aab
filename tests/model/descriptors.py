"""The rules of `tests.model.rules` for open files: what is read, written, and sealed at the last close."""

import errno
import os
from dataclasses import dataclass

from tests.model.world import Directory, File, Link, Refused, Unclear, World


@dataclass(frozen=True)
class OneOf:
    """Any of these."""

    values: tuple[object, ...]


@dataclass(frozen=True)
class Perhaps:
    """This, or one of these errnos."""

    value: object
    errnos: tuple[int, ...]


UNREACHABLE = (errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.ENOENT)
"""What reading ends in when what is not here cannot be had, or not any more."""


@dataclass
class Handle:
    file: File
    flags: int

    @property
    def may_write(self) -> bool:
        return self.flags & os.O_ACCMODE != os.O_RDONLY

    @property
    def may_read(self) -> bool:
        return self.flags & os.O_ACCMODE != os.O_WRONLY


class Descriptors:
    """`handles`: what each node's programs have open, by slot."""

    def __init__(self, nodes: str) -> None:
        self.world = World(private={who: {} for who in nodes}, news={who: set() for who in nodes})
        self.handles: dict[str, dict[int, Handle]] = {who: {} for who in nodes}

    def open(self, who: str, slot: int, path: str, flags: int, mode: int) -> None:
        if slot in self.handles[who]:
            raise Unclear
        place = self.world.walk(who, path)
        node = self.world.get(who, place)
        if node is not None and flags & os.O_EXCL:
            raise Refused(errno.EEXIST)
        match node:
            case None if flags & os.O_CREAT:
                node = self.world.private[who][place] = File(who, mode=mode, writers=0)
            case None:
                raise Refused(errno.ENOENT)
            case Link():
                raise Refused(errno.ELOOP)
            case Directory():
                raise Refused(errno.EISDIR) if flags & (os.O_CREAT | os.O_ACCMODE) else Unclear
            case File() if node.is_sealed and flags & os.O_ACCMODE != os.O_RDONLY:
                raise Refused(errno.EPERM)
        handle = self.handles[who][slot] = Handle(node, flags)
        node.writers += handle.may_write
        if flags & os.O_TRUNC:
            node.change(b"")

    def _handle(self, who: str, slot: int) -> Handle:
        if slot not in self.handles[who]:
            raise Unclear
        return self.handles[who][slot]

    def _writer(self, who: str, slot: int) -> File:
        handle = self._handle(who, slot)
        if not handle.may_write:
            raise Unclear
        return handle.file

    def _reader(self, who: str, slot: int) -> File:
        handle = self._handle(who, slot)
        if not handle.may_read:
            raise Unclear
        return handle.file

    def close(self, who: str, slot: int) -> None:
        handle = self._handle(who, slot)
        del self.handles[who][slot]
        if handle.may_write:
            self.last_close(handle.file)

    def last_close(self, file: File) -> None:
        file.writers -= 1
        if file.is_sealed:
            file.is_safe = file.is_synced
            self.world.seal(file)

    def close_copy(self, who: str, slot: int) -> None:
        self._handle(who, slot)

    def pwrite(self, who: str, slot: int, offset: int, raw: bytes) -> int:
        file = self._writer(who, slot)
        if self.handles[who][slot].flags & os.O_APPEND:
            raise Unclear  # Linux appends then, whatever the offset
        before = file.content.ljust(offset, b"\0")
        file.change(before[:offset] + raw + before[offset + len(raw) :])
        return len(raw)

    def append(self, who: str, slot: int, raw: bytes) -> int:
        file = self._writer(who, slot)
        if not self.handles[who][slot].flags & os.O_APPEND:
            raise Unclear
        file.change(file.content + raw)
        return len(raw)

    def pread(self, who: str, slot: int, offset: int, length: int) -> object:
        file = self._reader(who, slot)
        content = file.content[offset : offset + length]
        return content if self._can_be_had(who, file) else Perhaps(content, UNREACHABLE)

    def _can_be_had(self, who: str, file: File) -> bool:
        """A file that its publisher has removed is here, or it is not to be had any more."""
        return file.owner == who or file in self.world.names.values()

    def ftruncate(self, who: str, slot: int, size: int) -> None:
        file = self._writer(who, slot)
        file.change(file.content[:size].ljust(size, b"\0"))

    def fsync(self, who: str, slot: int) -> None:
        if self._handle(who, slot).may_write:
            self.handles[who][slot].file.is_synced = True

    def map_write(self, who: str, slot: int, offset: int, raw: bytes) -> None:
        file = self._writer(who, slot)
        if not self.handles[who][slot].may_read or offset + len(raw) > len(file.content):
            raise Unclear
        file.change(file.content[:offset] + raw + file.content[offset + len(raw) :])

    def map_read(self, who: str, slot: int) -> bytes:
        file = self._reader(who, slot)
        if not file.content or not self._can_be_had(who, file):
            raise Unclear  # SIGBUS would end the process
        return file.content
