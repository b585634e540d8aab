"""Packages that are written while the daemon is killed, again and again."""

import os
import random
import threading
from collections.abc import Iterable
from errno import ECONNABORTED, ENOTCONN
from functools import partial

import pytest

from blobfs.model import BlobId
from tests.mount.conftest import StartNode
from tests.mount.node import BlobfsNode
from tests.mount.packages import (
    WRITE,
    directory,
    errno_of_write,
    finish,
    held,
    is_absent,
    is_complete,
    is_open,
    meta,
    missing,
    package_of,
    write,
)
from tests.mount.probes import assert_sound, errno_of, until
from tests.sync.packages.made import Made

ROUNDS = 20
LONGEST = 0.12
"""Seconds of a life, from the moment at which the mount is ready; a package is written in twice that."""


def make_package(random_of: random.Random) -> Made:
    """Small blobs and large ones, one package in another one."""
    inner = package_of(
        {b"%d" % each: random_of.randbytes(random_of.randrange(1, 9_000)) for each in range(20)}
    )
    files = {b"d/%d" % each: random_of.randbytes(random_of.randrange(1, 400_000)) for each in range(40)}
    return package_of({**files, b"inner": inner})


class Writer:
    """Writes a package until it is complete or the mount dies. `written` are the calls that returned."""

    def __init__(self, node: BlobfsNode, package: Made) -> None:
        self._node = node
        self._package = package
        self.written: set[BlobId] = set()

    def run(self) -> None:
        try:
            self._write_all()
        except OSError:
            if self._node.is_mounted() and errno_of(self._node.path().stat) == 0:
                raise

    def _write_all(self) -> None:
        node, package = self._node, self._package
        errno_of(directory(node, package).mkdir)
        if is_open(node, package) and errno_of(meta(node, package).stat) != 0:
            write(meta(node, package), package.meta)
            self.written.add(package.package)
        while is_open(node, package):
            for blob in os.listdir(missing(node, package)):
                write(missing(node, package, blob), package.blobs[BlobId(blob)], os.O_WRONLY)
                self.written.add(BlobId(blob))


def assert_kept(node: BlobfsNode, package: Made, written: Iterable[BlobId]) -> None:
    """P2: what a call had returned for is there, in the one place or the other, and everything is right."""
    if not written:
        return
    if is_open(node, package):
        assert not set(os.listdir(missing(node, package))) & set(written)
        found = held(node, package, "needed")
    else:
        assert is_complete(node, package)
        found = held(node, package)
    assert found is not None
    assert set(found) >= set(written)
    assert all(
        found[blob] == {package.package: package.meta, **package.blobs}[BlobId(blob)] for blob in found
    )


@pytest.mark.timeout(120)
def test_killed_at_random_moments(start_node: StartNode):
    """P2, P9: twenty lives of a fraction of a second. What had returned is never lost, what is complete
    stays so, and each package is finished in the end.
    """
    random_of = random.Random(20)
    node = start_node()
    packages = [make_package(random_of)]
    written: set[BlobId] = set()
    for _ in range(ROUNDS):
        if is_complete(node, packages[-1]):
            packages.append(make_package(random_of))
            written = set()
        writer = Writer(node, packages[-1])
        process = node.process
        assert process is not None
        killing = threading.Timer(random_of.uniform(0, LONGEST), process.kill)
        killing.start()
        writer.run()
        process.wait(10)
        written |= writer.written
        node.kill9()
        node.start()
        assert_kept(node, packages[-1], written)
    finish_or_begin(node, packages[-1])
    for package in packages:
        assert is_complete(node, package)
    assert_sound(node.share)
    until(lambda: not os.listdir(node.store / "incoming"), "nothing is left over")
    assert os.listdir(node.store / "needed") == []


def finish_or_begin(node: BlobfsNode, package: Made) -> None:
    errno_of(directory(node, package).mkdir)
    finish(node, package)


@pytest.mark.parametrize(
    ("writes", "delay"), [(0, 0.001), (1, 0.002), (30, 0.001), (30, 0.003), (60, 0.002), (60, 0.004)]
)
def test_killed_while_it_aborts(start_node: StartNode, writes: int, delay: float):
    """An abort that was begun is over after the start, or was never begun; nothing leaks."""
    package = make_package(random.Random(f"{writes} {delay}"))
    node = start_node()
    directory(node, package).mkdir()
    write(meta(node, package), package.meta)
    for blob in os.listdir(missing(node, package))[:writes]:
        write(missing(node, package, blob), package.blobs[BlobId(blob)])
    process = node.process
    assert process is not None
    threading.Timer(delay, process.kill).start()
    assert errno_of(directory(node, package).rmdir) in (0, ENOTCONN, ECONNABORTED)
    process.wait(10)
    node.kill9()
    node.start()
    if is_open(node, package):
        directory(node, package).rmdir()
    assert is_absent(node, package)
    blobs = node.share / ".blobfs/blobs"
    until(lambda: os.listdir(blobs) == [], "what was written is gone")
    assert os.listdir(node.store / "share/.blobfs/trees") == []


def test_a_write_that_the_kill_cut_off_leaves_nothing(start_node: StartNode):
    """Half a blob of each kind is gone after the start, and is written anew."""
    package = package_of({b"small": os.urandom(50_000), b"large": os.urandom(500_000)})
    node = start_node()
    directory(node, package).mkdir()
    half = os.open(meta(node, package), WRITE)
    os.write(half, package.meta[:50])
    node.kill9()
    errno_of(partial(os.close, half))
    node.start()
    assert os.listdir(directory(node, package)) == ["missing", "state"]
    write(meta(node, package), package.meta)
    halves = [os.open(missing(node, package, blob), os.O_WRONLY) for blob in sorted(package.blobs)]
    for descriptor, blob in zip(halves, sorted(package.blobs), strict=True):
        os.write(descriptor, package.blobs[BlobId(blob)][:-1])
    node.kill9()
    for descriptor in halves:
        errno_of(partial(os.close, descriptor))
    node.start()
    assert os.listdir(missing(node, package)) == sorted(package.blobs)
    assert os.listdir(node.store / "incoming") == []
    for blob, raw in package.blobs.items():
        assert errno_of_write(missing(node, package, blob), raw) == 0
    assert is_complete(node, package)
