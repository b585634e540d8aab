"""Requests that are answered without waiting, byte for byte, and what is left to pyfuse3."""

import errno
import struct
from collections import Counter

import pytest

from blobfs.errors import NameMissing
from blobfs.fuse import wire
from blobfs.fuse.adapter import Adapter
from blobfs.fuse.at_once import AtOnce
from blobfs.fuse.wire import Opcode, Request
from blobfs.vfs.attributes import Attributes, Opened
from tests.fuse.memory import MemoryFileSystem

MADE = Attributes(9, 0o100644, 0, 0, 0, 0, 1, 0, 0, 1.0, 1.0)


class OneFile(MemoryFileSystem):
    """Says at once what it is asked in these tests."""

    def lookup_nowait(self, parent: int, name: bytes) -> Attributes | None:
        if name == b"absent":
            raise NameMissing("absent")
        return MADE if name == b"made" else None

    def create_nowait(
        self, parent: int, name: bytes, mode: int, flags: int, pid: int
    ) -> tuple[Opened, Attributes] | None:
        return Opened(5, keep_cache=True), MADE

    def write_nowait(self, handle: int, offset: int, content: object) -> bool:
        return handle == 5

    def flush_nowait(self, handle: int) -> bool:
        return handle == 5


CREATE = struct.pack("=IIII", 0o101, 0o100644, 0, 0) + b"made\0"
HELD, OTHER = (struct.pack("=QQIIQII", handle, 0, 3, 0, 0, 0, 0) + b"abc" for handle in (5, 6))


@pytest.mark.parametrize(
    ("opcode", "body", "answer", "counted"),
    [
        (Opcode.LOOKUP, b"made\0", wire.entry(7, MADE), {"lookup": 1}),
        (Opcode.LOOKUP, b"absent\0", wire.failure(7, errno.ENOENT), {"lookup": 1}),
        (Opcode.LOOKUP, b"far away\0", None, {}),
        (Opcode.GETATTR, bytes(16), None, {}),
        (Opcode.SETATTR, bytes(88), None, {}),
        (Opcode.GETXATTR, bytes(8) + b"security.x\0", wire.failure(7, errno.EOPNOTSUPP), {"getxattr": 1}),
        (Opcode.GETXATTR, bytes(8) + b"user.x\0", None, {}),
        (Opcode.CREATE, CREATE, wire.created(7, MADE, 5, wire.FOPEN_KEEP_CACHE), {"create": 1}),
        (Opcode.WRITE, HELD, wire.written(7, 3), {"write": 1}),
        (Opcode.WRITE, OTHER, None, {}),
        (Opcode.FLUSH, struct.pack("=QIIQ", 5, 0, 0, 0), wire.done(7), {"flush": 1}),
        (Opcode.FLUSH, struct.pack("=QIIQ", 6, 0, 0, 0), None, {}),
        (Opcode.FLUSH, b"short", None, {}),
        (99, b"", None, {}),
    ],
)
async def test_what_is_answered_at_once_is_counted(
    opcode: int, body: bytes, answer: bytes | None, counted: dict[str, int]
) -> None:
    """As an operation; a refusal as an error too. What is not answered is counted by its operation."""
    adapter, handles = Adapter(OneFile()), Counter[int]()
    at_once = AtOnce(OneFile(), adapter.counts, handles, adapter._refused)
    assert at_once.answer(Request(opcode, 7, 1, 0, 0, 0, 0), memoryview(body)) == answer
    assert dict(adapter.counts.asked) == counted
    assert handles == ({5: 1} if opcode == Opcode.CREATE else {})
    refusals = {key: n for key, n in adapter.counts.numbers().items() if n}
    is_refusal = answer is not None and struct.unpack_from("=4xi", answer)[0] < 0
    assert len(refusals) == sum(adapter.counts.errors.values()) == is_refusal


async def test_a_defect_is_told_and_the_operation_asked(caplog: pytest.LogCaptureFixture) -> None:
    """What fails unexpectedly may still have an answer from the operation, but not in silence."""
    adapter = Adapter(OneFile())
    at_once = AtOnce(OneFile(), adapter.counts, Counter[int](), adapter._refused)
    asked = Request(Opcode.FLUSH, 7, 1, 0, 0, 0, 0)
    assert at_once.answer(asked, memoryview(b"short")) is None
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.getMessage() == "flush: unexpected, asked for again"
    assert record.exc_info is not None
