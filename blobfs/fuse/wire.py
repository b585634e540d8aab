"""Requests and answers as the kernel has them, of those that `front` looks at. Pure; <linux/fuse.h>.

| message | fields |
|---|---|
| every request | u32 length, u32 opcode, u64 unique, u64 inode, u32 uid, u32 gid, u32 pid, u32 spare |
| every answer, every notice | u32 length, s32 error (negative; a notice's code), u64 unique (a notice: 0) |
| OPEN | u32 flags, u32 spare |
| its answer | u64 handle, u32 FOPEN_..., u32 spare |
| READ | u64 handle, u64 offset, u32 size, ... |
| WRITE | u64 handle, u64 offset, u32 size, u32 flags, u64 owner, u32 flags, u32 spare, the bytes |
| its answer | u32 size, u32 spare |
| RELEASE | u64 handle, ... |
| INIT's answer | u32 major, u32 minor, u32 max_readahead, u32 flags, ... |
"""

import struct
from enum import IntEnum
from typing import NamedTuple

from blobfs.fuse.tuning import READ_AHEAD_KIB

MAX_REQUEST = (1 << 20) + (1 << 12)
"""Bytes: what libfuse says is the most that is written at once, and a page for what stands before it."""
HEADER_SIZE = 40

FUSE_PARALLEL_DIROPS = 1 << 18
"""Without it the kernel asks for one name of a directory after the other, and whoever comes behind a name
that waits for a dead share waits with it, and cannot even be killed. libfuse would set it, pyfuse3 not."""
FUSE_HANDLE_KILLPRIV_V2 = 1 << 28
"""Without it the kernel asks at every single write for the file's capabilities, which a write takes away.
There are none here; the set-id bits, which it takes too, the file system drops."""
FOPEN_DIRECT_IO = 1 << 0
FOPEN_KEEP_CACHE = 1 << 1
FOPEN_NOFLUSH = 1 << 5
"""Closes need not be told: Linux 5.16's, older ones ignore it. pyfuse3 has no option for it."""

_IN = struct.Struct("=4xIQQIIII")
_OUT = struct.Struct("=IiQ")
_OPEN_IN = struct.Struct("=I")
_OPENED = struct.Struct("=IiQQII")
_READ_IN = struct.Struct("=QQI")
_WRITE_IN = struct.Struct("=QQI20x")
_WRITTEN = struct.Struct("=IiQII")
_RELEASE_IN = struct.Struct("=Q")
_FIELD = struct.Struct("=I")
_READ_AHEAD_AT = _OUT.size + 8
_INIT_FLAGS_AT = _OUT.size + 12
_OPEN_FLAGS_AT = _OUT.size + 8


class Opcode(IntEnum):
    OPEN = 14
    READ = 15
    WRITE = 16
    RELEASE = 18
    INIT = 26
    INTERRUPT = 36


class Request(NamedTuple):
    opcode: int
    unique: int
    inode: int
    uid: int
    gid: int
    pid: int
    spare: int


def request_at(message: bytearray) -> Request:
    """The header."""
    return Request._make(_IN.unpack_from(message))


def parse_open(body: memoryview) -> int:
    """The flags."""
    (flags,) = _OPEN_IN.unpack_from(body)
    return int(flags)


def parse_read(body: memoryview) -> tuple[int, int, int]:
    """The handle, the offset and the size."""
    return _READ_IN.unpack_from(body)


def parse_write(body: memoryview) -> tuple[int, int, bytes]:
    """The handle, the offset and a copy of the bytes."""
    handle, offset, size = _WRITE_IN.unpack_from(body)
    return handle, offset, bytes(body[_WRITE_IN.size : _WRITE_IN.size + size])


def parse_release(body: memoryview) -> int:
    """The handle."""
    (handle,) = _RELEASE_IN.unpack_from(body)
    return int(handle)


def opened(unique: int, handle: int, flags: int) -> bytes:
    return _OPENED.pack(_OPENED.size, 0, unique, handle, flags, 0)


def read(unique: int, content: bytes | bytearray | memoryview) -> bytes:
    return _OUT.pack(_OUT.size + len(content), 0, unique) + content


def written(unique: int, count: int) -> bytes:
    return _WRITTEN.pack(_WRITTEN.size, 0, unique, count, 0)


def done(unique: int) -> bytes:
    return _OUT.pack(_OUT.size, 0, unique)


def failure(unique: int, number: int) -> bytes:
    return _OUT.pack(_OUT.size, -number, unique)


def is_success(message: bytes) -> bool:
    """Whether it is an answer, which a notice is not, and not a refusal."""
    _, error, unique = _OUT.unpack_from(message)
    return bool(unique != 0 and error == 0)


def completed_init(answer: bytes) -> bytes:
    """An answer to INIT that says what it said, and that names may be asked for side by side,
    and that a write asks for nothing.

    The kernel lowers its read-ahead to what the answer allows; libfuse takes 128 KiB from the question.
    Who mounts for a daemon without privileges sets it before (`premount`): the answer must not take it back.
    """
    content = bytearray(answer)
    _FIELD.pack_into(content, _READ_AHEAD_AT, READ_AHEAD_KIB * 1024)
    return _with_flag(content, _INIT_FLAGS_AT, FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV_V2)


def without_flush(answer: bytes) -> bytes:
    """An answer to OPEN, for a file whose closes need no answer."""
    return _with_flag(bytearray(answer), _OPEN_FLAGS_AT, FOPEN_NOFLUSH)


def _with_flag(content: bytearray, at: int, flag: int) -> bytes:
    (flags,) = _FIELD.unpack_from(content, at)
    _FIELD.pack_into(content, at, flags | flag)
    return bytes(content)
