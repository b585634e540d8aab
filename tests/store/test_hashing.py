"""Hash workers: the same digests as without them, whatever becomes of the workers."""

import os
import random
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from blobfs import errors
from blobfs.merkle import DIGEST_SIZE, hash_leaves
from blobfs.model import LEAF_SIZE
from blobfs.store.hash_worker import ARENA_SIZE, FILE_PIECE
from blobfs.store.hashing import ANSWER_SECONDS, WORTH_IT, HashWorkers

RAW = random.Random(7).randbytes(2 * ARENA_SIZE + WORTH_IT + 5)


@pytest.fixture
def workers() -> Iterator[HashWorkers]:
    made = HashWorkers(2)
    yield made
    made.close()


def children() -> list[int]:
    """The worker processes of this one."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        found += [int(pid) for pid in (task / "children").read_text().split()]
    return [pid for pid in found if b"hash_worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.parametrize("length", [0, 1, LEAF_SIZE, WORTH_IT - 1, WORTH_IT, ARENA_SIZE + 1, len(RAW)])
def test_digests_are_those_of_hashing_it_here(workers: HashWorkers, tmp_path: Path, length: int) -> None:
    """Of bytes and of a part of a file, long and short; long pieces are hashed by a worker."""
    first = 3 if length == len(RAW) else 0
    path = tmp_path / "file"
    path.write_bytes(bytes(first * LEAF_SIZE) + RAW[:length])
    assert workers.hash_leaves(RAW[:length], first) == hash_leaves(RAW[:length], first)
    assert workers.pieces == length // ARENA_SIZE + (length % ARENA_SIZE >= WORTH_IT)
    fd = os.open(path, os.O_RDONLY)
    assert workers.hash_file(fd, first * LEAF_SIZE, length) == hash_leaves(RAW[:length], first)
    os.close(fd)


def test_a_long_file_is_hashed_in_pieces(workers: HashWorkers, tmp_path: Path) -> None:
    """No worker is asked for so much that it could seem stuck."""
    path = tmp_path / "file"
    raw = RAW * (FILE_PIECE // len(RAW) + 1)
    path.write_bytes(raw)
    with path.open("rb") as file:
        assert workers.hash_file(file.fileno(), 0, len(raw)) == hash_leaves(raw, 0)
    assert workers.pieces == len(raw) // FILE_PIECE + (len(raw) % FILE_PIECE >= WORTH_IT)


def test_what_the_disk_cannot_read_is_said(workers: HashWorkers, tmp_path: Path) -> None:
    """It is the file's failure, not the worker's, which goes on."""
    fd = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(errors.StoreBroken, match="directory"):
        workers.hash_file(fd, 0, WORTH_IT)
    os.close(fd)
    (pid,) = children()
    assert workers.hash_leaves(RAW[:WORTH_IT], 0) == hash_leaves(RAW[:WORTH_IT], 0)
    assert children() == [pid]


def test_a_file_that_ends_early_gives_fewer_digests(workers: HashWorkers, tmp_path: Path) -> None:
    """What is not there is not hashed."""
    path = tmp_path / "file"
    path.write_bytes(RAW[: ARENA_SIZE + LEAF_SIZE])
    fd = os.open(path, os.O_RDONLY)
    digests = workers.hash_file(fd, 0, 3 * ARENA_SIZE)
    os.close(fd)
    assert digests == hash_leaves(RAW[: ARENA_SIZE + LEAF_SIZE], 0)


def test_a_worker_that_dies_costs_nothing_but_time(
    workers: HashWorkers, caplog: pytest.LogCaptureFixture
) -> None:
    """P8: the piece is hashed here, and the next one by a new worker."""
    expected = hash_leaves(RAW[:WORTH_IT], 0)
    assert workers.hash_leaves(RAW[:WORTH_IT], 0) == expected
    (pid,) = children()
    os.kill(pid, signal.SIGKILL)
    assert workers.hash_leaves(RAW[:WORTH_IT], 0) == expected
    assert "a hash worker is replaced" in caplog.text
    assert workers.hash_leaves(RAW[:WORTH_IT], 0) == expected
    assert children() != [pid]
    assert workers.pieces == 2


def test_nobody_waits_for_a_worker_that_died() -> None:
    """P3: who waited for the only one hashes for himself when it is gone, and not after a time limit."""
    workers = HashWorkers(1)
    workers.hash_leaves(RAW[:WORTH_IT], 0)
    (pid,) = children()
    os.kill(pid, signal.SIGSTOP)
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(workers.hash_leaves(RAW[:WORTH_IT], 0)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    os.kill(pid, signal.SIGKILL)
    for thread in threads:
        thread.join(ANSWER_SECONDS / 2)
    assert found == [hash_leaves(RAW[:WORTH_IT], 0)] * 4
    workers.close()
    assert children() == []


def test_a_worker_that_cannot_be_started_is_done_without(
    workers: HashWorkers, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """P8: out of processes or memory; nothing of the attempt is left."""
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    assert workers.hash_leaves(RAW[:WORTH_IT], 0) == hash_leaves(RAW[:WORTH_IT], 0)
    assert len(os.listdir("/proc/self/fd")) == before
    assert "cannot start a hash worker" in caplog.text
    monkeypatch.undo()
    for _ in range(2):
        workers.hash_leaves(RAW[:WORTH_IT], 0)
    assert len(children()) == 1


def test_signals_for_the_daemon_do_not_end_its_workers(workers: HashWorkers) -> None:
    """Ctrl-C and systemd signal the whole group, and the daemon may have something to hash still."""
    workers.hash_leaves(RAW[:WORTH_IT], 0)
    (pid,) = children()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, number)
    assert workers.hash_leaves(RAW[:WORTH_IT], 0) == hash_leaves(RAW[:WORTH_IT], 0)
    assert children() == [pid]


def test_many_threads_share_a_few_workers(workers: HashWorkers) -> None:
    """Each gets the digests of its own piece."""
    pieces = [RAW[start * 1000 :][:WORTH_IT] for start in range(12)]
    found: dict[int, bytes] = {}

    def run(number: int) -> None:
        found[number] = workers.hash_leaves(pieces[number], number)

    threads = [threading.Thread(target=run, args=[number]) for number in range(len(pieces))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == {number: hash_leaves(piece, number) for number, piece in enumerate(pieces)}
    assert len(children()) <= 2


def test_after_the_end_there_is_no_worker_and_hashing_goes_on(workers: HashWorkers) -> None:
    """What is closed last may be hashed last."""
    workers.hash_leaves(RAW[:WORTH_IT], 0)
    before = len(os.listdir("/proc/self/fd"))
    workers.close()
    assert children() == []
    assert len(os.listdir("/proc/self/fd")) == before - 3  # the socket, the arena, the mapping
    assert len(workers.hash_leaves(RAW, 0)) == -(-len(RAW) // LEAF_SIZE) * DIGEST_SIZE
    assert workers.pieces == 1
