"""The campaign can fail: what is wrong with a load or left over is found, and what is right is not."""

import errno
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from blobfs.model import CHUNK_SIZE
from tests.faults import reader
from tests.faults.figures import RSS, leftovers
from tests.faults.judging import LOOKUP_TIMEOUT, READ_TIMEOUT, SLACK, Result, complaints
from tests.faults.orders import How, Order, Orders
from tests.faults.phases import plan_phase
from tests.faults.source import Entry

CONTENT = bytes(range(250)) * 400
ORDER = Order(7, "many/f", "right", len(CONTENT), How.PREAD, 0, len(CONTENT), 30_000)


def read_by(tmp_path: Path, order: Order, content: bytes) -> Result:
    """What the reader says of a plain file with this content."""
    (tmp_path / "many").mkdir()
    (tmp_path / "many/f").write_bytes(content)
    (tmp_path / "right").write_bytes(CONTENT)
    done = subprocess.run(
        [sys.executable, "-I", "-S", reader.__file__, tmp_path, tmp_path, tmp_path / "copy"],
        input=json.dumps(asdict(order)).encode() + b"\n",
        capture_output=True,
        timeout=20,
        check=True,
    )
    return Result.of(json.loads(done.stdout))


def order_by(how: How, **changes: int) -> Order:
    return Order(**{**asdict(ORDER), "how": how, **changes})


@pytest.mark.parametrize("how", How)
def test_the_reader_compares_every_byte(tmp_path: Path, how: How):
    """Right content is compared to its end, by each way to read."""
    result = read_by(tmp_path, order_by(how), CONTENT)
    assert (result.wrong, result.errno, result.compared) == ("", 0, len(CONTENT))
    assert complaints(ORDER, result) == []


@pytest.mark.parametrize("how", [How.READ, How.PREAD, How.CP, How.CAT])
@pytest.mark.parametrize(
    "content", [CONTENT[:-1], CONTENT + b"x", CONTENT[:70_000] + b"\1" + CONTENT[70_001:]]
)
def test_the_reader_finds_what_is_wrong(tmp_path: Path, how: How, content: bytes):
    """One byte that differs, is missing or too many."""
    result = read_by(tmp_path, order_by(how, length=len(CONTENT) + 1), content)
    assert result.word == "WRONG"
    assert complaints(ORDER, result)


@pytest.mark.parametrize("how", [How.READ, How.MMAP])
def test_the_reader_reads_what_it_is_told(tmp_path: Path, how: How):
    """A range, and what is wrong outside of it is nobody's business."""
    result = read_by(
        tmp_path, order_by(how, offset=1000, length=5000, block=999), b"x" * 1000 + CONTENT[1000:]
    )
    assert (result.wrong, result.compared) == ("", 5000)


def test_errnos_and_ends():
    """An errno that no load may have, a reader that hangs; a daemon that was killed excuses the first."""
    assert complaints(ORDER, Result(7, "done", "read", errno.ETIMEDOUT)) == []
    assert complaints(ORDER, Result(7, "killed")) == complaints(ORDER, Result(7, "SIGBUS")) == []
    odd = Result(7, "done", "read", errno.EIO)
    assert complaints(ORDER, odd)
    assert complaints(ORDER, odd, killed_daemon=True) == []
    assert complaints(ORDER, Result(7, "hung"), killed_daemon=True)


def test_deadlines():
    """Each component that is looked up has a deadline, and each chunk that is read."""

    def took(what: str, offset: int, length: int, seconds: float) -> Result:
        return Result(7, "done", calls=[(what, offset, length, seconds + SLACK)])

    assert complaints(ORDER, took("open", 0, 0, 2 * LOOKUP_TIMEOUT)) == []
    assert complaints(ORDER, took("open", 0, 0, 2 * LOOKUP_TIMEOUT + 0.1))
    assert complaints(ORDER, took("read", CHUNK_SIZE - 1, 2, 2 * READ_TIMEOUT)) == []
    assert complaints(ORDER, took("read", CHUNK_SIZE, 2, 2 * READ_TIMEOUT))


def test_leftovers():
    """More of anything; of memory, much more."""
    before = {"fd file": 3, RSS: 50_000}
    assert leftovers(before, {"fd file": 3, RSS: 70_000}) == []
    assert leftovers(before, {"fd file": 4, RSS: 80_000, "threads": 1}) == [
        "fd file: 3 before, 4 after",
        "rss KiB: 50000 before, 80000 after",
        "threads: 0 before, 1 after",
    ]


def test_a_seed_gives_the_same_again():
    """Orders and phases depend on seed and number alone; a block of orders takes each blob once."""
    entries = [Entry(f"f{number}", f"{number:064}", number) for number in range(50)]
    orders, others = Orders(3, entries, 50), Orders(3, entries, 50)
    assert [orders.order(number) for number in range(60)] == [others.order(n) for n in range(60)]
    assert len({orders.order(number).blob for number in range(50)}) == 50
    assert Orders(4, entries, 50).order(1) != orders.order(1)
    assert plan_phase(3, 5) == plan_phase(3, 5) != plan_phase(4, 5)
    assert not any(
        "l" in plan.partition(":of=")[2] for n in range(50) for plan in plan_phase(3, n, "l").plans
    )
