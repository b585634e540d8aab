"""What the two nodes hold before anything goes wrong.

A shares named blobs of all sizes, names it removed, symbolic links and packages. B has loaded all of that,
some large blobs only in part, and has shared a few things of its own, which no share can bring back.
"""

import os
import random
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from blobfs.model import CHUNK_SIZE
from tests.mount.node import BlobfsNode
from tests.mount.packages import package_of, publish
from tests.mount.probes import MIB
from tests.structure import ROOT
from tests.sync.packages.made import Made

SIZES = (0, 1, 100, 8_191, 8_192, 8_193, 70_000, CHUNK_SIZE, CHUNK_SIZE + 1, 300_000, MIB + 5)
LARGEST = 20 * MIB
PART = 3 * CHUNK_SIZE
"""How much of the beginning and of the end is read of a blob that is loaded in part."""
SYNC_SECONDS = 60


class LongNode(BlobfsNode):
    """A node that lives for as long as a campaign takes."""

    lifetime = 900.0


@dataclass
class Contents:
    """By path in the mount: what must be read there."""

    files: dict[str, bytes] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)
    """Those that only B has."""
    in_part: set[str] = field(default_factory=set)
    """Those that B has in part."""


def fill_a(node: BlobfsNode, chance: random.Random, blobs: int, largest: int) -> Contents:
    contents = Contents()
    for number in range(blobs):
        directory = f"d{number % 7}"
        node.path(directory).mkdir(exist_ok=True)
        size = chance.choice(SIZES) if number % 12 else chance.randrange(MIB, largest + 1)
        _write(node, contents, f"{directory}/f{number:04}", chance.randbytes(size))
    for number in range(blobs // 10):
        path = node.path(f"d{number % 7}/gone{number}")
        path.write_bytes(chance.randbytes(10))
        path.unlink()
        node.path(f"d{number % 7}/link{number}").symlink_to(f"f{number:04}")
    for number in range(2):
        _publish(node, contents, _package(chance, number))
    _sync(node)
    return contents


def fill_b(node: BlobfsNode, chance: random.Random, contents: Contents, blobs: int) -> None:
    large = [path for path, raw in contents.files.items() if len(raw) > 2 * PART]
    contents.in_part = set(chance.sample(large, len(large) // 3))
    for path, raw in contents.files.items():
        if path in contents.in_part:
            _read_in_part(node.path(path), raw)
        else:
            assert node.path(path).read_bytes() == raw, path
    packages = {path.split("/")[2] for path in contents.files if path.startswith(".blobfs/packages/")}
    _load(node, sorted(packages))
    node.path("own").mkdir()
    before = set(contents.files)
    for number in range(blobs // 10):
        _write(node, contents, f"own/f{number}", chance.randbytes(chance.choice(SIZES[2:])))
    _publish(node, contents, _package(chance, 9))
    contents.own = set(contents.files) - before
    _sync(node)


def _package(chance: random.Random, number: int) -> Made:
    files = {f"p{number}/{at}".encode(): chance.randbytes(chance.choice(SIZES[2:8])) for at in range(14)}
    return package_of(dict(files))


def _publish(node: BlobfsNode, contents: Contents, package: Made) -> None:
    publish(node, package)
    root = node.path(f".blobfs/packages/{package.package}")
    for directory, _, names in os.walk(root):
        for name in names:
            path = Path(directory, name)
            contents.files[str(path.relative_to(node.mountpoint))] = path.read_bytes()


def _write(node: BlobfsNode, contents: Contents, path: str, raw: bytes) -> None:
    node.path(path).write_bytes(raw)
    contents.files[path] = raw


def _read_in_part(path: Path, raw: bytes) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        for offset in (0, len(raw) - PART):
            assert os.pread(fd, PART, offset) == raw[offset : offset + PART]
    finally:
        os.close(fd)


def _sync(node: BlobfsNode) -> None:
    subprocess.run(["sync", node.mountpoint], check=True, timeout=SYNC_SECONDS)


def _load(node: BlobfsNode, names: list[str]) -> None:
    command = [sys.executable, "-P", "-m", "blobfs", "load", str(node.mountpoint), *names]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, check=True, timeout=SYNC_SECONDS, env=environment, capture_output=True)
