"""Bits that the disk turned, anywhere in the store: no reader gets one, and what is wrong mends itself."""

import os
import random
from errno import EHOSTUNREACH, EIO
from pathlib import Path

import pytest

from tests.mount.conftest import StartNode
from tests.mount.node import BlobfsNode
from tests.mount.packages import is_complete, package_of, publish
from tests.mount.probes import (
    MIB,
    assert_sound,
    attribute,
    blob_id,
    blobfs,
    errno_of_read,
    flip,
    last_error,
    put,
    read_at,
    stored,
    until,
)

LEAF, CHUNK = 8192, 131_072
FLIPS = 200
WARNINGS = ("the stored bytes of", "the tree of", "was wrong", "what is stored")


def content(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def uncached(path: Path) -> None:
    """The kernel forgets what it has of a file: the next read is the daemon's to answer."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def expect_damage(node: BlobfsNode) -> None:
    for words in WARNINGS:
        node.expect_log(words, perhaps=True)


def targets(store: Path, with_partial: bool) -> list[Path]:
    """What bytes are read from, and what vouches for them."""
    parts = [store / "share/.blobfs/blobs", store / "share/.blobfs/trees"]
    parts += [store / "partial"] * with_partial
    files = (path for part in parts for path in part.iterdir() if path.suffix != ".names")
    return sorted(path for path in files if path.stat().st_size)


def damage(store: Path, chance: random.Random, count: int, with_partial: bool) -> None:
    """Single bits, the first and the last byte of files more often than others; a few files cut or grown."""
    for _ in range(count):
        path = chance.choice(targets(store, with_partial))
        size = path.stat().st_size
        if chance.random() < 0.05 and path.parent.name in ("blobs", "trees"):
            os.truncate(path, chance.choice([size - 1, size // 2, size + 1, size + CHUNK]))
        else:
            flip(path, chance.choice([0, size - 1, chance.randrange(size)]), chance.randrange(8))


@pytest.fixture
def pair(start_node: StartNode) -> tuple[BlobfsNode, BlobfsNode, dict[str, bytes]]:
    """A, which has everything, and B, which published one half of it itself, loaded the other, and one blob
    only in part. B's files by name."""
    sizes = [1, LEAF, LEAF + 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7, 2 * MIB + 5]
    a = start_node("a", listen=True)
    b = start_node("b", shares=[a.url])
    expect_damage(b)
    files = {}
    for number, size in enumerate([*sizes, *sizes]):
        raw = content(size, number)
        put(a, f"f{number}", raw)
        if number < len(sizes):
            put(b, f"own{number}", raw)
        files[f"own{number}" if number < len(sizes) else f"f{number}"] = raw
    files["part"] = content(4 * MIB, 99)
    put(a, "part", files["part"])
    for name, raw in files.items():
        if name != "part":
            assert b.path(name).read_bytes() == raw
    assert read_at(b.path("part"), 0, MIB) == files["part"][:MIB]
    return a, b, files


def test_no_turned_bit_is_ever_read(pair: tuple[BlobfsNode, BlobfsNode, dict[str, bytes]]):
    """[S102] P1: 200 random flips, made while the node is down and while it runs: no read gives a wrong byte,
    none fails, and afterwards the share is sound and every name is linked."""
    _, b, files = pair
    chance = random.Random(7)
    rounds = 4
    here = {blob_id(raw) for name, raw in files.items() if name != "part"}
    open_all_along = os.open(b.path("own7"), os.O_RDONLY)
    for number in range(rounds):
        is_down = number % 2 == 0
        if is_down:
            os.close(open_all_along)
            b.stop()
        damage(b.store, chance, FLIPS // rounds, with_partial=is_down)
        if is_down:
            b.start()
            open_all_along = os.open(b.path("own7"), os.O_RDONLY)
        for name, raw in files.items():
            uncached(b.path(name))
            assert b.path(name).read_bytes() == raw, name
        until(lambda: b.status()["loading"]["to_restore"] == 0, "all is restored")
        until(lambda: stored(b.share).keys() >= here, "all is in the share again")
        uncached(b.path("own7"))
        assert os.pread(open_all_along, MIB, CHUNK) == files["own7"][CHUNK : CHUNK + MIB]
    os.close(open_all_along)
    whole = {blob_id(raw) for raw in files.values()}
    until(lambda: stored(b.share).keys() >= whole, "all is whole again", seconds=30)
    assert_sound(b.share)
    for name, raw in files.items():
        until((b.share / name).exists, f"{name} is linked")
        assert (b.share / name).read_bytes() == raw
        assert (b.share / name).samefile(b.share / ".blobfs/blobs" / blob_id(raw))
    b.wait_until_sealed()


def test_what_no_share_has(start_node: StartNode):
    """[S103] EIO when no share has the blob, EHOSTUNREACH when that cannot be known; what is right is read
    all along, and the reason is told. It mends itself when a share has it."""
    a = start_node("a", listen=True)
    b = start_node("b", shares=[a.url])
    raw = content(3 * MIB, 1)
    blob = put(b, "mine", raw)
    for words in (*WARNINGS, "no share that may have it can be reached", "no share has it"):
        b.expect_log(words, perhaps=True)
    b.stop()
    flip(b.share / ".blobfs/blobs" / blob, MIB + 5)
    b.start()
    assert errno_of_read(b.path("mine")) == EIO
    assert last_error(b.path("mine"))[-1]["outcome"] == "absent"
    assert "no share has it" in blobfs("why", b.mountpoint, "mine").stdout
    assert attribute(b.path("mine"), "state") == "partial"
    assert read_at(b.path("mine"), 2 * MIB, MIB) == raw[2 * MIB :]
    assert not (b.share / "mine").exists()
    b.stop()
    put(a, "theirs", raw)
    a.stop()
    b.start()
    assert errno_of_read(b.path("mine")) == EHOSTUNREACH
    b.stop()
    a.start()
    b.start()
    assert b.path("mine").read_bytes() == raw
    until((b.share / "mine").exists, "it is whole")
    assert attribute(b.path("mine"), "state") == "sealed"
    assert_sound(b.share)


def test_a_package_with_a_wrong_blob(start_node: StartNode):
    """[S104] It stays complete, its files read right, and it holds them again when they are whole."""
    a = start_node("a", listen=True)
    b = start_node("b", shares=[a.url])
    expect_damage(b)
    package = package_of({b"tiny": b"x" * 100, b"small": content(CHUNK, 1), b"large": content(MIB, 2)})
    for node in a, b:
        publish(node, package)
    assert is_complete(b, package)
    b.stop()
    for blob in (package.package, *package.blobs):
        flip(b.store / "packages" / package.package / self_or_written(b, package.package, blob), 50)
    b.start()
    for path, raw in (("tiny", b"x" * 100), ("small", content(CHUNK, 1)), ("large", content(MIB, 2))):
        assert b.path(f".blobfs/packages/{package.package}/{path}").read_bytes() == raw
    until(lambda: is_complete(b, package), "it is whole again")
    assert_sound(b.share)


def self_or_written(node: BlobfsNode, package: str, blob: str) -> str:
    """What the package's link to a blob is called."""
    links = os.listdir(node.store / "packages" / package)
    return next(link for link in links if link.partition(".")[0] == blob)
