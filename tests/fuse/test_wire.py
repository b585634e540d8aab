"""Requests and answers as the kernel has them."""

import struct

import pytest

from blobfs.fuse import wire
from blobfs.fuse.tuning import READ_AHEAD_KIB
from blobfs.vfs.attributes import Attributes, Change

HEADER = struct.Struct("=IiQ")


def test_requests_are_read_as_they_stand() -> None:
    """fuse_in_header, fuse_open_in, fuse_read_in, fuse_write_in, fuse_release_in of <linux/fuse.h>."""
    message = struct.pack("=IIQQIIIHH", 48, 14, 7, 3, 1000, 1001, 4242, 0, 0)
    assert len(message) == wire.HEADER_SIZE
    request = wire.request_at(bytearray(message))
    assert (request.opcode, request.unique, request.inode) == (wire.Opcode.OPEN, 7, 3)
    assert (request.uid, request.gid, request.pid) == (1000, 1001, 4242)
    assert wire.parse_open(memoryview(struct.pack("=II", 0o100000, 0))) == 0o100000
    read = struct.pack("=QQIIQII", 5, 1 << 40, 131072, 0, 0, 0, 0)
    assert wire.parse_read(memoryview(read)) == (5, 1 << 40, 131072)
    write = struct.pack("=QQIIQII", 5, 1 << 40, 3, 0, 0, 0, 0) + b"abcdef"
    assert wire.parse_write(memoryview(write)) == (5, 1 << 40, memoryview(b"abc"))
    assert wire.parse_handle(memoryview(struct.pack("=QIIQ", 9, 0, 0, 0))) == 9


def test_requests_about_names_are_read_as_they_stand() -> None:
    """A lookup's name, fuse_create_in, fuse_getxattr_in, with the NUL at their ends."""
    assert wire.parse_name(memoryview(b"a name\0")) == b"a name"
    create = struct.pack("=IIII", 0o101, 0o100640, 0o022, 0) + b"new\0"
    assert wire.parse_create(memoryview(create)) == (b"new", 0o100640, 0o101)
    assert wire.parse_getxattr(memoryview(struct.pack("=II", 99, 0) + b"security.x\0")) == b"security.x"


MODE, UID, GID, SIZE, ATIME, MTIME, FH, MTIME_NOW = 1, 2, 4, 8, 16, 32, 64, 256


@pytest.mark.parametrize(
    ("which", "wanted"),
    [
        (MODE, Change(mode=0o100755)),
        (UID | GID | 1 << 11, Change(uid=1000, gid=1001)),
        (ATIME | MTIME | FH, Change(mtime_ns=-1_999_999_993)),
        (MODE | SIZE, None),
        (MTIME | MTIME_NOW, None),
        (1 << 12, None),
    ],
)
def test_a_change_is_read_if_it_is_a_plain_one(which: int, wanted: Change | None) -> None:
    """fuse_setattr_in. What sets a size, or the time to now, is left to pyfuse3."""
    numbers = (which, 0, 5, 4096, 0, 11, -2, 13, 5, 7, 9, 0o100755, 0, 1000, 1001, 0)
    body = struct.pack("=IIQQQqqqIIIIIIII", *numbers)
    assert len(body) == 88
    assert wire.parse_setattr(memoryview(body)) == wanted


ATTRIBUTES = Attributes(
    inode=3,
    mode=0o100644,
    size=5000,
    blocks=10,
    mtime_ns=-1_999_999_993,
    ctime_ns=7_000_000_009,
    nlink=1,
    uid=1000,
    gid=1001,
    entry_timeout=3600.0,
    attr_timeout=0.25,
    piece=1 << 20,
)
TIMES = (-2, -2, 7, 7, 7, 9)
ATTR = struct.pack("=QQQqqqIIIIIIIIII", 3, 5000, 10, *TIMES, 0o100644, 1, 1000, 1001, 0, 1 << 20, 0)


def test_attributes_are_written_as_the_kernel_takes_them() -> None:
    """fuse_entry_out, fuse_attr_out, and for a new file fuse_open_out behind the first."""
    assert len(ATTR) == 88
    node = struct.pack("=QQQQII", 3, 0, 3600, 0, 0, 250_000_000) + ATTR
    assert wire.entry(7, ATTRIBUTES) == HEADER.pack(16 + 128, 0, 7) + node
    assert (
        wire.attributes(7, ATTRIBUTES)
        == HEADER.pack(16 + 104, 0, 7) + struct.pack("=QII", 0, 250_000_000, 0) + ATTR
    )
    opened = struct.pack("=QII", 5, 2, 0)
    assert wire.created(7, ATTRIBUTES, 5, 2) == HEADER.pack(16 + 144, 0, 7) + node + opened


def test_answers_are_written_as_the_kernel_takes_them() -> None:
    """fuse_out_header with the length of all, then fuse_open_out, the bytes, fuse_write_out, or nothing."""
    assert wire.opened(7, 5, 2) == HEADER.pack(32, 0, 7) + struct.pack("=QII", 5, 2, 0)
    assert wire.read(7, memoryview(b"abc")) == HEADER.pack(19, 0, 7) + b"abc"
    much = memoryview(bytes(1 << 20))
    assert wire.read(7, much) == (HEADER.pack(16 + (1 << 20), 0, 7), much)
    assert wire.written(7, 3) == HEADER.pack(24, 0, 7) + struct.pack("=II", 3, 0)
    assert wire.done(7) == HEADER.pack(16, 0, 7)
    assert wire.failure(7, 5) == HEADER.pack(16, -5, 7)


def test_a_notice_and_a_refusal_are_no_success() -> None:
    """A notice has no request; a refusal has an error."""
    assert wire.is_success(wire.done(7))
    assert not wire.is_success(wire.failure(7, 2))
    assert not wire.is_success(HEADER.pack(16, 3, 0))


def test_the_answer_to_init_is_completed() -> None:
    """Flags are added, the read-ahead raised, and nothing else changed."""
    body = struct.pack("=IIII", 7, 38, 131072, 0x4040B029) + bytes(range(48))
    answer = HEADER.pack(HEADER.size + len(body), 0, 1) + body
    found = wire.completed_init(answer)
    assert len(found) == len(answer)
    assert struct.unpack_from("=IIII", found, HEADER.size) == (
        *(7, 38, READ_AHEAD_KIB * 1024),
        0x4040B029 | wire.FUSE_PARALLEL_DIROPS | wire.FUSE_HANDLE_KILLPRIV_V2,
    )
    assert found[: HEADER.size + 8] == answer[: HEADER.size + 8]
    assert found[HEADER.size + 16 :] == answer[HEADER.size + 16 :]


def test_a_file_whose_closes_are_not_told() -> None:
    """The handle and the other flags stay."""
    opened = wire.opened(7, 5, wire.FOPEN_KEEP_CACHE)
    assert wire.without_flush(opened) == wire.opened(7, 5, wire.FOPEN_KEEP_CACHE | wire.FOPEN_NOFLUSH)
