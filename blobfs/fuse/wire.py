"""Requests and answers as the kernel has them, of those that `front` looks at. Pure; <linux/fuse.h>.

| message | fields |
|---|---|
| every request | u32 length, u32 opcode, u64 unique, u64 inode, u32 uid, u32 gid, u32 pid, u32 spare |
| every answer, every notice | u32 length, s32 error (negative; a notice's code), u64 unique (a notice: 0) |
| LOOKUP | the name, a NUL |
| its answer | u64 inode, u64 generation, u64 and u64 seconds for which name and attributes hold |
| ... | u32 and u32 ns of these, the attributes |
| the attributes | u64 inode, size, blocks; s64 atime, mtime, ctime, u32 ns of each; u32 mode, links |
| ... | u32 uid, u32 gid, u32 device, u32 block size, u32 flags |
| GETATTR | not looked at |
| its answer, SETATTR's | u64 seconds for which they hold, u32 ns, u32 spare, the attributes |
| SETATTR | u32 which of these, u32 spare, u64 handle, u64 size, u64 owner |
| ... | s64 atime, mtime, ctime, u32 ns of each; u32 mode, u32 spare, u32 uid, u32 gid, u32 spare |
| CREATE | u32 flags, u32 mode, u32 umask, u32 open flags, the name, a NUL |
| its answer | as LOOKUP's, then as OPEN's |
| GETXATTR | u32 size, u32 spare, the name, a NUL |
| FLUSH | u64 handle, ... |
| OPEN | u32 flags, u32 spare |
| its answer | u64 handle, u32 FOPEN_..., u32 spare |
| READ | u64 handle, u64 offset, u32 size, ... |
| WRITE | u64 handle, u64 offset, u32 size, u32 flags, u64 owner, u32 flags, u32 spare, the bytes |
| its answer | u32 size, u32 spare |
| RELEASE | as FLUSH |
| INIT's answer | u32 major, u32 minor, u32 max_readahead, u32 flags, ... |
"""

import struct
from enum import IntEnum
from typing import NamedTuple

from blobfs.fuse.tuning import READ_AHEAD_KIB
from blobfs.vfs.attributes import Attributes, Change

MAX_REQUEST = (1 << 20) + (1 << 12)
"""Bytes: what libfuse says is the most that is written at once, and a page for what stands before it."""
HEADER_SIZE = 40
COPIED = 1 << 13
"""Bytes of a READ's answer that are put behind its header: sending pieces costs more than such a copy."""

Buffer = bytes | bytearray | memoryview
Answer = bytes | tuple[bytes, Buffer]
"""Or its pieces."""

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
_HANDLE_IN = struct.Struct("=Q")
_CREATE_IN = struct.Struct("=II8x")
_SETATTR_IN = struct.Struct("=I4x32xq12xI4xI4xII4x")
_GETXATTR_IN = struct.Struct("=8x")
_NODE = struct.Struct("=QQQQII")
_LASTING = struct.Struct("=QI4x")
_ATTRIBUTES = struct.Struct("=QQQqqqIIIIIIIIII")
_OPENED_FILE = struct.Struct("=QII")
_FIELD = struct.Struct("=I")
_READ_AHEAD_AT = _OUT.size + 8
_INIT_FLAGS_AT = _OUT.size + 12
_OPEN_FLAGS_AT = _OUT.size + 8


FATTR_MODE, FATTR_UID, FATTR_GID, FATTR_SIZE, FATTR_ATIME, FATTR_MTIME, FATTR_FH, FATTR_ATIME_NOW = (
    1 << bit for bit in range(8)
)
FATTR_CTIME = 1 << 10
FATTR_KILL_SUIDGID = 1 << 11
"""Comes with every chown; the operation does not look at it either."""
_NOT_KEPT = FATTR_ATIME | FATTR_ATIME_NOW | FATTR_CTIME | FATTR_FH | FATTR_KILL_SUIDGID
"""What a change may come with and nothing here depends on."""
_SECOND = 1_000_000_000


class Opcode(IntEnum):
    LOOKUP = 1
    GETATTR = 3
    SETATTR = 4
    OPEN = 14
    READ = 15
    WRITE = 16
    RELEASE = 18
    GETXATTR = 22
    FLUSH = 25
    INIT = 26
    CREATE = 35
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


def parse_write(body: memoryview) -> tuple[int, int, memoryview]:
    """The handle, the offset and the bytes, where they are."""
    handle, offset, size = _WRITE_IN.unpack_from(body)
    return handle, offset, body[_WRITE_IN.size : _WRITE_IN.size + size]


def parse_handle(body: memoryview) -> int:
    """Of RELEASE and FLUSH."""
    (handle,) = _HANDLE_IN.unpack_from(body)
    return int(handle)


def parse_name(body: memoryview) -> bytes:
    """Without the NUL at its end."""
    return bytes(body[:-1])


def parse_getxattr(body: memoryview) -> bytes:
    """The attribute's name."""
    return parse_name(body[_GETXATTR_IN.size :])


def parse_create(body: memoryview) -> tuple[bytes, int, int]:
    """The name, the mode and the flags."""
    flags, mode = _CREATE_IN.unpack_from(body)
    return parse_name(body[_CREATE_IN.size :]), mode, flags


def parse_setattr(body: memoryview) -> Change | None:
    """None: it asks for more than mode, owner and times, or for a time that is not said."""
    which, mtime, mtime_nsec, mode, uid, gid = _SETATTR_IN.unpack_from(body)
    if which & ~(FATTR_MODE | FATTR_UID | FATTR_GID | FATTR_MTIME | _NOT_KEPT):
        return None
    return Change(
        mode=mode if which & FATTR_MODE else None,
        uid=uid if which & FATTR_UID else None,
        gid=gid if which & FATTR_GID else None,
        mtime_ns=mtime * _SECOND + mtime_nsec if which & FATTR_MTIME else None,
    )


def entry(unique: int, found: Attributes) -> bytes:
    body = _node(found)
    return _OUT.pack(_OUT.size + len(body), 0, unique) + body


def created(unique: int, made: Attributes, handle: int, flags: int) -> bytes:
    body = _node(made) + _OPENED_FILE.pack(handle, flags, 0)
    return _OUT.pack(_OUT.size + len(body), 0, unique) + body


def attributes(unique: int, found: Attributes) -> bytes:
    body = _LASTING.pack(*_lasting(found.attr_timeout)) + _attributes(found)
    return _OUT.pack(_OUT.size + len(body), 0, unique) + body


def _node(found: Attributes) -> bytes:
    name, name_nsec = _lasting(found.entry_timeout)
    steady, steady_nsec = _lasting(found.attr_timeout)
    return _NODE.pack(found.inode, 0, name, steady, name_nsec, steady_nsec) + _attributes(found)


def _attributes(found: Attributes) -> bytes:
    """The time of access is not kept."""
    mtime, mtime_nsec = divmod(found.mtime_ns, _SECOND)
    ctime, ctime_nsec = divmod(found.ctime_ns, _SECOND)
    return _ATTRIBUTES.pack(
        *(found.inode, found.size, found.blocks),
        *(mtime, mtime, ctime, mtime_nsec, mtime_nsec, ctime_nsec),
        *(found.mode, found.nlink, found.uid, found.gid, 0, found.piece, 0),
    )


def _lasting(seconds: float) -> tuple[int, int]:
    return divmod(int(seconds * _SECOND), _SECOND)


def opened(unique: int, handle: int, flags: int) -> bytes:
    return _OPENED.pack(_OPENED.size, 0, unique, handle, flags, 0)


def read(unique: int, content: Buffer) -> Answer:
    """In pieces if a copy of the bytes would cost something."""
    head = _OUT.pack(_OUT.size + len(content), 0, unique)
    return head + content if len(content) <= COPIED else (head, content)


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
