"""docs/semantics.md, "Running as a service": what is read to see that the mount answers."""

import errno
import os
import re
import time
from functools import partial
from pathlib import Path

import pytest
import trio

from blobfs.daemon.canary import Canary
from blobfs.vfs.canary import SIZE
from tests.mount.node import BlobfsNode
from tests.mount.probes import errno_of

PATH = ".blobfs/canary"


def test_the_canary(node: BlobfsNode):
    """[S118] Each reading is new, reaches the daemon by LOOKUP, OPEN and several READs, and is whole."""
    canary = node.path(PATH)
    before = {kind: node.operations(kind) for kind in ("lookup", "open", "read")}
    asked = time.monotonic_ns()
    texts = [canary.read_bytes() for _ in range(2)]
    answered = time.monotonic_ns()
    times = []
    for text in texts:
        line = re.match(rb"canary ([0-9]+)\n", text)
        assert line is not None
        assert text == (line[0] * SIZE)[:SIZE]
        times.append(int(line[1]))
    assert asked < times[0] < times[1] < answered
    assert node.operations("lookup") >= before["lookup"] + 2
    assert node.operations("open") == before["open"] + 2
    assert node.operations("read") >= before["read"] + 2 * 2
    assert canary.stat().st_size == SIZE


def test_the_canary_cannot_be_changed(node: BlobfsNode):
    """[S118] Not written, truncated, changed, removed or moved."""
    canary = node.path(PATH)
    for change in (
        partial(os.open, canary, os.O_WRONLY),
        partial(os.truncate, canary, 0),
        partial(os.chmod, canary, 0o755),
        canary.unlink,
        partial(canary.rename, node.path("bird")),
        partial(os.link, canary, node.path("bird")),
    ):
        assert errno_of(change) == errno.EPERM
    assert os.listxattr(canary) == []
    assert node.path(".blobfs").is_dir()
    assert os.listdir(node.path(".blobfs")) == []


async def test_a_reader_that_cannot_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Out of descriptors or memory, or without `cat`: that is said, and does not end the node."""
    monkeypatch.setenv("PATH", str(tmp_path))
    problem = await Canary(str(tmp_path)).listen()
    assert problem == "cat cannot be started: No such file or directory"


async def test_what_is_no_canary_is_noticed(node: BlobfsNode):
    """A mount that answers passes; a directory with another file in the place of the canary does not."""
    await Canary(str(node.path())).demand()
    false = node.store / "false"
    (false / ".blobfs").mkdir(parents=True)
    (false / PATH).write_bytes(b"canary 1\n" * 10)
    with trio.fail_after(10):
        problem = await Canary(str(false)).listen()
    assert problem == "90 bytes that are not the canary's"
