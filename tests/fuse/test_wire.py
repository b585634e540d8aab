"""Requests and answers as the kernel has them."""

import struct

from blobfs.fuse import wire
from blobfs.fuse.tuning import READ_AHEAD_KIB

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
    assert wire.parse_write(memoryview(write)) == (5, 1 << 40, b"abc")
    assert wire.parse_release(memoryview(struct.pack("=QIIQ", 9, 0, 0, 0))) == 9


def test_answers_are_written_as_the_kernel_takes_them() -> None:
    """fuse_out_header with the length of all, then fuse_open_out, the bytes, fuse_write_out, or nothing."""
    assert wire.opened(7, 5, 2) == HEADER.pack(32, 0, 7) + struct.pack("=QII", 5, 2, 0)
    assert wire.read(7, memoryview(b"abc")) == HEADER.pack(19, 0, 7) + b"abc"
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
