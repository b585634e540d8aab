"""What the adapter counts of its answers, without a kernel."""

from typing import NoReturn

import pyfuse3
import pytest
import trio
import trio.testing

from blobfs.errors import NameMissing
from blobfs.fuse.adapter import Adapter
from blobfs.vfs.attributes import Caller
from tests.fuse.memory import ROOT, MemoryFileSystem

CTX = pyfuse3.RequestContext()


class SlowFileSystem(MemoryFileSystem):
    """A lookup takes 20 ms and finds nothing; reads are a defect."""

    async def lookup(self, parent: int, name: bytes, caller: Caller) -> NoReturn:
        await trio.sleep(0.02)
        raise NameMissing("x")

    async def read(self, handle: int, offset: int, size: int) -> NoReturn:
        raise ZeroDivisionError


async def test_how_long_an_answer_took(autojump_clock: trio.testing.MockClock) -> None:
    """Refusals count as well: a histogram of each kind of operation, in seconds."""
    adapter = Adapter(SlowFileSystem())
    for _ in range(2):
        with pytest.raises(pyfuse3.FUSEError):
            await adapter.lookup(ROOT, b"x", CTX)
    await adapter.getattr(ROOT, CTX)
    took = adapter.counts.durations()
    assert took.keys() == {"lookup", "getattr"}
    assert took["lookup"].count == 2
    assert took["lookup"].total == pytest.approx(0.04)
    bounds, boxes = took["lookup"].bounds, took["lookup"].boxes
    assert {bound: box for bound, box in zip(bounds, boxes, strict=False) if box} == {0.025: 2}
    assert took["getattr"].boxes[0] == 1


async def test_errors_by_operation_and_errno() -> None:
    """What callers got, by the errno they saw: a defect is their EIO."""
    adapter = Adapter(SlowFileSystem())
    for ask in (adapter.read(1, 0, 1), adapter.rename(ROOT, b"hello", ROOT, b"new", 4, CTX)):
        with pytest.raises(pyfuse3.FUSEError):
            await ask
    assert adapter.counts.numbers() == {("read", "EIO"): 1, ("rename", "EINVAL"): 1}
    assert adapter.statistics()["errors"] == {"unexpected": 1, "EINVAL": 1}
