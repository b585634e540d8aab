"""docs/semantics.md, "Packages in the making"."""

import errno
import json
import os
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from blobfs.bundle import bundle_members
from blobfs.manifest import parse_manifest
from blobfs.model import EMPTY_BLOB, BlobId
from tests.mount.conftest import StartNode
from tests.mount.loop_disk import frozen, loop_disk
from tests.mount.node import BlobfsNode
from tests.mount.packages import (
    WRITE,
    begin,
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
    package_with,
    publish,
    state,
    write,
)
from tests.mount.probes import attribute, blob_id, errno_of, until
from tests.mount.programs import bash, bash_fails, run
from tests.sync.packages.made import Made

SMALL = 20_000
LARGE = 300_000
"""Bytes of what is kept in memory until it is whole, and of what is not."""


@pytest.fixture
def node(shared_node: BlobfsNode) -> Iterator[BlobfsNode]:
    """One for all these tests: what they write is random, so they do not meet."""
    shared_node.prolong()
    shared_node.expect_log("the transaction on [0-9a-f]* failed: ", perhaps=True)
    yield shared_node
    shared_node.check_log()


@pytest.fixture
def package() -> Made:
    """Of a small and a large blob."""
    return package_of({b"small": os.urandom(SMALL), b"bin/large": os.urandom(LARGE)})


def one_of(package: Made, size: int = SMALL) -> tuple[BlobId, bytes]:
    return next((blob, raw) for blob, raw in package.blobs.items() if len(raw) == size)


def last_error(path: Path) -> tuple[str, int, str | None]:
    """Status, errno and blob."""
    found = json.loads(attribute(path, "last_error"))
    assert set(found) == {"status", "errno", "blob", "message"}
    assert found["message"]
    return found["status"], found["errno"], found["blob"]


def test_opening(node: BlobfsNode, package: Made):
    """[S77] mkdir opens; EEXIST when it is open, complete, or all of it is here; EINVAL for no id."""
    needed = node.path(".blobfs/needed")
    opening = directory(node, package).mkdir
    opening()
    assert errno_of(opening) == errno.EEXIST
    assert package.package in os.listdir(needed)
    assert sorted(os.listdir(directory(node, package))) == ["missing", "state"]
    for path in (directory(node, package) / "other", missing(node, package, "other")):
        assert errno_of(path.mkdir) == errno.EPERM
    assert errno_of((directory(node, package) / "other").touch) == errno.EPERM
    write(meta(node, package), package.meta)
    assert sorted(os.listdir(directory(node, package))) == ["meta", "missing", "state"]
    finish(node, package)
    assert package.package not in os.listdir(needed)
    assert errno_of(opening) == errno.EEXIST
    for wrong in ("x", package.package[:-1], package.package.upper(), f"{package.package}0", "."):
        assert errno_of((needed / wrong).mkdir) in (
            errno.EINVAL,
            errno.EEXIST if wrong == "." else errno.EINVAL,
        )


def test_opening_what_is_here(node: BlobfsNode, package: Made):
    """[S77] A package of which everything is here is complete as soon as it is asked for."""
    for number, raw in enumerate((package.meta, *package.blobs.values())):
        node.path(f"{package.package}{number}").write_bytes(raw)
    run("sync", node.mountpoint)
    assert errno_of(directory(node, package).mkdir) == errno.EEXIST
    assert is_complete(node, package)


def test_the_meta_blob(node: BlobfsNode, package: Made):
    """[S78] Written once: then it is read there, EEXIST with O_EXCL, EPERM for writing."""
    directory(node, package).mkdir()
    path = meta(node, package)
    assert errno_of_write(path, package.meta[:-1]) == errno.EBADMSG
    assert errno_of_write(path, package.meta[:-1] + b"x") == errno.EBADMSG
    assert errno_of(path.stat) == errno.ENOENT
    assert state(node, package) == "need-meta"
    assert errno_of_write(path, package.meta, WRITE | os.O_EXCL) == 0
    assert path.read_bytes() == package.meta
    assert (path.stat().st_size, stat.S_IMODE(path.stat().st_mode)) == (len(package.meta), 0o444)
    assert errno_of_write(path, package.meta, WRITE | os.O_EXCL) == errno.EEXIST
    assert errno_of_write(path, package.meta) == errno.EPERM


def test_a_meta_blob_that_is_no_manifest(node: BlobfsNode):
    """[S78] EBADMSG, and the transaction has failed: it says why, and is aborted."""
    package = package_with(os.urandom(100))
    directory(node, package).mkdir()
    assert errno_of_write(meta(node, package), package.meta) == errno.EBADMSG
    assert state(node, package).startswith("failed: ")
    assert "not #mtree" in state(node, package)
    assert errno_of(directory(node, package).mkdir) == errno.EEXIST
    directory(node, package).rmdir()
    assert is_absent(node, package)


def test_what_is_missing(node: BlobfsNode):
    """[S79] Exactly the missing blobs, sorted, with their sizes; what has come is gone."""
    inner = package_of({b"x": os.urandom(10)})
    sizes = {os.urandom(size): size for size in (1, 1000, LARGE)}
    package = package_of({**{b"%d" % size: raw for raw, size in sizes.items()}, b"empty": b"", b"n": inner})
    directory(node, package).mkdir()
    assert os.listdir(missing(node, package)) == []
    write(meta(node, package), package.meta)
    expected = {blob_id(raw): size for raw, size in sizes.items()} | {inner.package: 0}
    if EMPTY_BLOB in os.listdir(missing(node, package)):  # another test may have written it
        expected[EMPTY_BLOB] = 0
    while expected:
        with os.scandir(missing(node, package)) as entries:
            found = {entry.name: entry.stat() for entry in entries}
        assert list(found) == sorted(expected)
        assert {name: status.st_size for name, status in found.items()} == expected
        assert {stat.S_IMODE(status.st_mode) for status in found.values()} == {0o200}
        blob = min(expected)
        assert errno_of(missing(node, package, blob).read_bytes) == errno.EACCES
        write(missing(node, package, blob), package.blobs[BlobId(blob)])
        assert errno_of(missing(node, package, blob).stat) == errno.ENOENT
        del expected[blob]
        if blob == inner.package:
            expected |= {other: len(raw) for other, raw in inner.blobs.items()}
    assert is_complete(node, package)


def test_a_listing_while_blobs_are_written(node: BlobfsNode):
    """[S79] It neither skips nor repeats one that is missing all the time."""
    package = package_of({b"%d" % number: os.urandom(50) for number in range(600)})
    begin(node, package)
    blobs = sorted(package.blobs)
    with os.scandir(missing(node, package)) as entries:
        seen = [next(entries).name for _ in range(10)]
        for blob in blobs[5:590]:
            if blob not in blobs[100:110]:
                write(missing(node, package, blob), package.blobs[blob])
        seen += [entry.name for entry in entries]
    assert len(seen) == len(set(seen))
    assert seen == sorted(seen)
    assert set(seen) >= {*blobs[:10], *blobs[100:110], *blobs[590:]}
    assert os.listdir(missing(node, package)) == [*blobs[:5], *blobs[100:110], *blobs[590:]]
    directory(node, package).rmdir()


def test_what_is_not_missing(node: BlobfsNode, package: Made):
    """[S80] ENOENT for what is not needed, or no longer; EPROTO before the meta blob and after a failure."""
    blob, raw = one_of(package)
    directory(node, package).mkdir()
    assert errno_of(missing(node, package, blob).stat) == errno.ENOENT
    assert errno_of_write(missing(node, package, blob), raw) == errno.EPROTO
    write(meta(node, package), package.meta)
    other = os.urandom(10)
    assert errno_of_write(missing(node, package, blob_id(other)), other) == errno.ENOENT
    assert errno_of_write(missing(node, package, "no-id"), other) == errno.ENOENT
    write(missing(node, package, blob), raw)
    assert errno_of_write(missing(node, package, blob), raw) == errno.ENOENT
    finish(node, package)

    bad = package_with(os.urandom(10))
    failing = package_of({b"f": raw[::-1], b"n": bad})
    begin(node, failing)
    assert errno_of_write(missing(node, failing, bad.package), bad.meta) == errno.EBADMSG
    assert errno_of_write(missing(node, failing, blob_id(raw[::-1])), raw[::-1]) == errno.EPROTO
    assert state(node, failing).startswith("failed: ")
    directory(node, failing).rmdir()


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_when_a_blob_is_written(node: BlobfsNode, package: Made, size: int):
    """[S81] At the write that completes it, at fsync, at close; the last one completes the package."""
    directory(node, package).mkdir()
    declared = os.open(meta(node, package), WRITE)
    os.ftruncate(declared, len(package.meta))
    os.write(declared, package.meta)
    assert meta(node, package).read_bytes() == package.meta
    os.close(declared)
    other, other_raw = one_of(package, {SMALL: LARGE, LARGE: SMALL}[size])
    write(missing(node, package, other), other_raw)
    blob, raw = one_of(package, size)
    descriptor = os.open(missing(node, package, blob), os.O_WRONLY)
    os.write(descriptor, raw[:-1])
    assert os.listdir(missing(node, package)) == [blob]
    assert not node.path(f".blobfs/packages/{package.package}").exists()
    os.write(descriptor, raw[-1:])
    assert is_complete(node, package)
    assert node.path(f".blobfs/packages/{package.package}/small").read_bytes() == one_of(package)[1]
    os.close(descriptor)


def test_a_blob_written_at_fsync_and_at_close(node: BlobfsNode, package: Made):
    """[S81] What was not written in order is complete at fsync, or at close."""
    directory(node, package).mkdir()
    with meta(node, package).open("wb", buffering=0) as file:
        file.write(package.meta)
        assert state(node, package) == "need-meta"
        os.fsync(file.fileno())
        assert state(node, package) == "need-blobs 2 of 2"
    for blob, raw in package.blobs.items():
        descriptor = os.open(missing(node, package, blob), os.O_WRONLY)
        os.pwrite(descriptor, raw[100:], 100)
        os.pwrite(descriptor, raw[:100], 0)
        os.close(descriptor)
    assert is_complete(node, package)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_what_is_refused(node: BlobfsNode, package: Made, size: int):
    """[S82] EBADMSG, ENODATA, EFBIG; it stays missing, and right bytes may follow."""
    begin(node, package)
    blob, raw = one_of(package, size)
    path = missing(node, package, blob)
    descriptor = os.open(path, os.O_WRONLY)
    os.close(os.dup(descriptor))
    os.write(descriptor, raw[:100])
    assert errno_of(partial(os.fsync, descriptor)) == errno.ENODATA
    assert errno_of(partial(os.close, os.dup(descriptor))) == errno.ENODATA
    assert errno_of(partial(os.pwrite, descriptor, b"xx", size - 1)) == errno.EFBIG
    assert errno_of(partial(os.ftruncate, descriptor, size + 1)) == errno.EFBIG
    assert errno_of(partial(os.pwrite, descriptor, raw[::-1], 0)) == errno.EBADMSG
    assert errno_of(partial(os.close, descriptor)) == errno.EBADMSG
    assert state(node, package) == "need-blobs 2 of 2"
    assert sorted(package.blobs) == os.listdir(missing(node, package))
    descriptor = os.open(path, os.O_WRONLY)
    assert errno_of(partial(os.write, descriptor, raw[::-1])) == errno.EBADMSG
    os.pwrite(descriptor, raw, 0)
    assert errno_of(path.stat) == errno.ENOENT
    assert errno_of(partial(os.close, descriptor)) == 0
    finish(node, package)


def test_a_shell_s_copies_of_a_descriptor(node: BlobfsNode, package: Made):
    """[S82] Closed before anything was written they decide nothing."""
    begin(node, package)
    blob, _ = one_of(package)
    bash(f"exec 3<>missing/{blob}; (true >&3); true >&3; exec 3>&-", directory(node, package))
    assert state(node, package) == "need-blobs 2 of 2"
    assert errno_of(partial(attribute, directory(node, package), "last_error")) == errno.ENODATA
    directory(node, package).rmdir()


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_two_writers(node: BlobfsNode, package: Made, size: int):
    """[S83] Both write; the first to complete wins, the other sees success whatever it writes."""
    begin(node, package)
    blob, raw = one_of(package, size)
    one, two = (os.open(missing(node, package, blob), os.O_WRONLY) for _ in range(2))
    os.write(one, raw[: size // 2][::-1])
    os.write(two, raw[: size // 2])
    os.write(two, raw[size // 2 :])
    assert errno_of(missing(node, package, blob).stat) == errno.ENOENT
    os.write(one, b"whatever")
    os.fsync(one)
    assert errno_of(partial(os.close, one)) == errno_of(partial(os.close, two)) == 0
    finish(node, package)
    assert is_complete(node, package)


COMMANDS = {
    "cp": "cp $from $to",
    "cp -p": "cp -p $from $to",
    "cp --sparse=always": "cp --sparse=always $from $to",
    "cat": "cat $from > $to",
    "cat >>": "cat $from >> $to",
    "dd": "dd if=$from of=$to bs=7000 status=none",
    "dd conv=fsync": "dd if=$from of=$to bs=7000 conv=fsync status=none",
    "dd oflag=append": "dd if=$from of=$to bs=7000 oflag=append conv=notrunc status=none",
    "tee": "tee $to < $from > /dev/null",
    "python": "python3 -c 'import shutil, sys; shutil.copyfile(*sys.argv[1:])' $from $to",
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_programs_that_write(node: BlobfsNode, tmp_path: Path, command: str):
    """[S84] All of these write a needed blob, with holes or without."""
    holes = os.urandom(1000) + bytes(200_000) + os.urandom(1000)
    package = package_of({b"small": os.urandom(SMALL), b"large": os.urandom(LARGE), b"holes": holes})
    begin(node, package)
    for blob, raw in package.blobs.items():
        (tmp_path / "from").write_bytes(raw)
        bash(f"from={tmp_path}/from to=missing/{blob}; {command}", directory(node, package))
    assert is_complete(node, package)


def test_taking_over_what_is_in_the_mount(node: BlobfsNode, tmp_path: Path):
    """[S84] mv copies nothing, nor does ln of the meta blob; another blob is EBADMSG and stays."""
    first, second = os.urandom(SMALL), os.urandom(LARGE)
    package = package_of({b"1": first, b"2": second})
    directory(node, package).mkdir()
    manifest, name = node.path(f"{package.package}-meta"), node.path(f"{package.package}-file")
    name.write_bytes(first[::-1])
    for command in (os.link, os.rename):
        assert errno_of(partial(command, name, meta(node, package))) == errno.EBADMSG
    manifest.write_bytes(package.meta)
    os.link(manifest, meta(node, package))
    path = missing(node, package, blob_id(first))
    assert errno_of(partial(os.link, name, path)) == errno.EEXIST
    assert errno_of(partial(os.rename, name, path)) == errno.EBADMSG
    assert name.read_bytes() == first[::-1]
    name.unlink()
    name.write_bytes(first)
    os.rename(name, path)  # sealed only now, as a rename has it
    assert os.listdir(missing(node, package)) == [blob_id(second)]
    until(lambda: errno_of(path.stat) == errno.ENOENT, "the kernel knows that it is not there")
    assert errno_of(name.stat) == errno.ENOENT
    (tmp_path / "second").write_bytes(second)
    last = missing(node, package, blob_id(second))
    assert "Operation not permitted" in bash_fails(f"mv second {last}", tmp_path)
    assert (tmp_path / "second").read_bytes() == second
    assert os.listdir(missing(node, package)) == [blob_id(second)]
    finish(node, package)
    assert is_complete(node, package)


def test_taking_over_what_is_on_another_node(two_nodes: tuple[BlobfsNode, BlobfsNode]):
    """[S84] What is not here is EXDEV, and copied with cp: it is loaded by being read."""
    a, b = two_nodes
    raw = os.urandom(LARGE)
    a.path("f").write_bytes(raw)
    blob = attribute(a.path("f"), "id")
    package = package_of({b"f": raw, b"g": b"g"})
    begin(b, package)
    assert errno_of(partial(os.rename, b.path("f"), missing(b, package, blob))) == errno.EXDEV
    assert state(b, package) == "need-blobs 2 of 2"
    run("cp", b.path("f"), missing(b, package, blob))
    finish(b, package)
    assert is_complete(b, package)


def test_the_bundle(node: BlobfsNode):
    """[S84] All small blobs in one stream, in order; what is wrong ends it, what came before counts."""
    package = package_of({b"%02d" % number: os.urandom(1000 + number) for number in range(20)})
    members = bundle_members(parse_manifest(package.meta))
    stream = b"".join(package.blobs[member.blob] for member in members)
    bundle = directory(node, package) / "bundle"
    directory(node, package).mkdir()
    assert errno_of(bundle.stat) == errno.ENOENT
    write(meta(node, package), package.meta)
    assert "bundle" not in os.listdir(directory(node, package))
    assert bundle.stat().st_size == len(stream)
    assert errno_of(bundle.read_bytes) == errno.EACCES
    wrong = members[5].offset + 3
    spoilt = stream[:wrong] + bytes([stream[wrong] ^ 1]) + stream[wrong + 1 :]
    assert errno_of_write(bundle, spoilt, os.O_WRONLY) == errno.EBADMSG
    assert len(os.listdir(missing(node, package))) == 15
    assert errno_of_write(bundle, stream[: members[9].offset + 1], os.O_WRONLY) == errno.ENODATA
    assert len(os.listdir(missing(node, package))) == 11
    assert errno_of_write(bundle, stream, os.O_WRONLY) == 0
    assert is_complete(node, package)


WAYS: dict[str, Callable[[BlobfsNode, bytes], None]] = {}


def way(bring: Callable[[BlobfsNode, bytes], None]) -> Callable[[BlobfsNode, bytes], None]:
    WAYS[bring.__name__] = bring
    return bring


@way
def under_a_name(node: BlobfsNode, raw: bytes) -> None:
    node.path(blob_id(raw)).write_bytes(raw)
    attribute(node.path(blob_id(raw)), "id")
    node.path(blob_id(raw)).unlink()


@way
def through_incoming(node: BlobfsNode, raw: bytes) -> None:
    write(node.path(f".blobfs/incoming/{blob_id(raw)}"), raw)


@way
def through_another_package(node: BlobfsNode, raw: bytes) -> None:
    other = package_of({b"other": raw, b"more": os.urandom(10)})
    begin(node, other)
    write(missing(node, other, blob_id(raw)), raw)
    directory(node, other).rmdir()


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("bring", WAYS.values(), ids=WAYS)
def test_blobs_from_elsewhere(node: BlobfsNode, bring: Callable[[BlobfsNode, bytes], None], size: int):
    """[S85] They count however they come, and are held from then on."""
    raw = os.urandom(size)
    package = package_of({b"f": raw, b"g": os.urandom(10)})
    begin(node, package)
    assert missing(node, package, blob_id(raw)).exists()
    # What brings it takes its own hold away at once: the transaction may have been quicker, or not.
    bring(node, raw)
    run("sync", node.mountpoint)
    if missing(node, package, blob_id(raw)).exists():
        write(missing(node, package, blob_id(raw)), raw)
    finish(node, package)
    assert is_complete(node, package)
    assert node.blob(blob_id(raw)).read_bytes() == raw


def test_what_is_loaded_counts(two_nodes: tuple[BlobfsNode, BlobfsNode]):
    """[S85] A blob that a share has is written by reading it."""
    a, b = two_nodes
    raw = os.urandom(LARGE)
    a.path("f").write_bytes(raw)
    run("sync", a.mountpoint)
    package = package_of({b"f": raw})
    begin(b, package)
    assert b.path("f").read_bytes() == raw
    until(lambda: is_complete(b, package), "what was loaded has completed it")


def test_aborting(node: BlobfsNode, package: Made):
    """[S86] rmdir, whatever is in it: what was written goes, descriptors are stale."""
    kept = os.urandom(SMALL)
    package = package_of({b"kept": kept, **{f"{len(raw)}".encode(): raw for raw in package.blobs.values()}})
    assert errno_of(directory(node, package).rmdir) == errno.ENOENT
    node.path("kept").write_bytes(kept)
    run("sync", node.mountpoint)
    begin(node, package)
    written = [blob for blob in os.listdir(missing(node, package)) if blob != blob_id(kept)]
    for blob in written[:1]:
        write(missing(node, package, blob), package.blobs[BlobId(blob)])
    writer = os.open(missing(node, package, written[1]), os.O_WRONLY)
    os.write(writer, b"x")
    directory(node, package).rmdir()
    assert is_absent(node, package)
    for call in (partial(os.write, writer, b"x"), partial(os.fsync, writer), partial(os.close, writer)):
        assert errno_of(call) == errno.ESTALE
    gone = [package.package, *written]
    until(lambda: not any((node.share / ".blobfs/blobs" / blob).exists() for blob in gone), "all is gone")
    assert node.path("kept").read_bytes() == kept
    node.path("kept").unlink()
    publish(node, package)
    assert errno_of(directory(node, package).rmdir) == errno.ENOENT
    assert is_complete(node, package)


def test_whoever_waits_for_what_is_aborted(start_node: StartNode, tmp_path: Path, package: Made):
    """[S86] ECANCELED; here the disk keeps the writer waiting."""
    with loop_disk(tmp_path / "a-store") as disk:
        node = start_node()
        begin(node, package)
        blob, raw = one_of(package)
        path, aborted = missing(node, package, blob), directory(node, package)
        failed: list[int] = []
        writing = threading.Thread(target=lambda: failed.append(errno_of_write(path, raw)), daemon=True)
        aborting = threading.Thread(target=aborted.rmdir, daemon=True)
        with frozen(disk):
            before = node.operations("write")
            writing.start()
            until(lambda: node.operations("write") > before, "somebody writes")
            aborting.start()
            writing.join(10)
            assert failed == [errno.ECANCELED]
        aborting.join(10)
        assert is_absent(node, package)
        node.stop()


def test_removing_is_not_aborting(node: BlobfsNode, package: Made):
    """[S86] `rm -r` is refused, and nothing is gone."""
    begin(node, package)
    assert "Operation not permitted" in bash_fails(f"rm -r {package.package}", node.path(".blobfs/needed"))
    assert "Operation not permitted" in bash_fails(f"rm -rf {package.package}", node.path(".blobfs/needed"))
    assert state(node, package) == "need-blobs 2 of 2"
    finish(node, package)


def test_a_crash(start_node: StartNode, package: Made):
    """[S87] What was written to its end is there after a kill, the rest is missing; a restart is nothing."""
    node = start_node()
    begin(node, package)
    (small, small_raw), (large, large_raw) = one_of(package), one_of(package, LARGE)
    write(missing(node, package, small), small_raw)
    descriptor = os.open(missing(node, package, large), os.O_WRONLY)
    os.write(descriptor, large_raw[:-1])
    node.kill9()
    assert errno_of(partial(os.close, descriptor)) == errno.ENOTCONN
    node.start()
    assert os.listdir(node.path(".blobfs/needed")) == [package.package]
    assert os.listdir(missing(node, package)) == [large]
    assert errno_of(partial(os.listdir, node.store / "incoming")) == 0
    node.restart()
    assert state(node, package) == "need-blobs 1 of 2"
    write(missing(node, package, large), large_raw)
    assert is_complete(node, package)
    node.kill9()
    node.start()
    assert is_complete(node, package)


def test_expiry(start_node: StartNode, package: Made):
    """[S88] Nobody has got on with it for the time that is set, and nobody writes."""
    node = start_node(options=["fill=never", "abandoned_after=3"])
    other = package_of({b"f": b"content"})
    begin(node, other)
    with missing(node, other, blob_id(b"content")).open("wb", buffering=0) as file:
        begin(node, package)
        until(lambda: is_absent(node, package), "it has expired, on the disk too")
        assert is_open(node, other)
        file.write(b"content")
    assert is_complete(node, other)


def test_looking(node: BlobfsNode, package: Made, tmp_path: Path):
    """[S89] Nothing that only looks changes anything, in whatever state."""
    looks = (
        "find needed/ID | xargs -d '\\n' stat",
        "ls -lR needed/ID",
        "du -a needed/ID",
        "getfattr -R -d -m - needed/ID",
        "grep -r x needed/ID",
        f"cp -r needed/ID {tmp_path}/copy; rm -rf {tmp_path}/copy",
        f"tar cf {tmp_path}/tar needed/ID",
        "cat needed/ID/missing/*",
        "chmod 777 needed/ID needed/ID/state; touch needed/ID/other",
    )

    def look() -> None:
        before = (state(node, package), os.listdir(missing(node, package)), held(node, package, "needed"))
        for command in looks:
            script = command.replace("ID", package.package)
            done = subprocess.run(
                ["bash", "-c", script], cwd=node.path(".blobfs"), capture_output=True, timeout=20, check=False
            )
            assert b"Input/output" not in done.stderr
        after = (state(node, package), os.listdir(missing(node, package)), held(node, package, "needed"))
        assert after == before

    directory(node, package).mkdir()
    look()
    write(meta(node, package), package.meta)
    look()
    blob, raw = one_of(package)
    write(missing(node, package, blob), raw)
    look()
    finish(node, package)
    assert is_complete(node, package)


def test_state_and_last_error(node: BlobfsNode):
    """[S90] A line that says what is missing; the protocol's own word for what went wrong last."""
    raw = os.urandom(SMALL)
    package = package_of({b"f": raw, b"g": os.urandom(10), b"h": os.urandom(10)})
    directory(node, package).mkdir()
    assert state(node, package) == "need-meta"
    write(meta(node, package), package.meta)
    assert state(node, package) == "need-blobs 3 of 3"
    path = missing(node, package, blob_id(raw))
    others = [missing(node, package, blob) for blob in package.blobs if blob != blob_id(raw)]
    about = (directory(node, package), directory(node, package) / "state", missing(node, package))
    for each in (*about, path):
        assert os.listxattr(each) == []
    assert errno_of_write(path, raw[::-1]) == errno.EBADMSG
    for each in (*about, path):
        assert os.listxattr(each) == ["user.blobfs.last_error"]
        assert last_error(each) == ("NOT_WRITTEN", errno.EBADMSG, blob_id(raw))
    assert os.listxattr(others[0]) == []
    assert errno_of_write(others[0], b"12345") == errno.ENODATA
    assert last_error(about[0]) == ("NOT_WRITTEN", errno.ENODATA, others[0].name)
    write(path, raw)
    assert state(node, package) == "need-blobs 2 of 3"
    directory(node, package).rmdir()


def test_read_only(start_node: StartNode, package: Made):
    """[S91] What is open is seen; nothing is opened, written or aborted."""
    node = start_node()
    begin(node, package)
    node.arguments.append("--read-only")
    node.restart()
    blob, raw = one_of(package)
    assert state(node, package) == "need-blobs 2 of 2"
    assert os.listdir(missing(node, package)) == sorted(package.blobs)
    assert meta(node, package).read_bytes() == package.meta
    other = package_of({b"f": b"x"})
    for change in (
        directory(node, other).mkdir,
        directory(node, package).rmdir,
        partial(write, missing(node, package, blob), raw),
        partial(write, missing(node, package, blob_id(b"x")), b"x"),
    ):
        assert errno_of(change) == errno.EROFS
    node.arguments.remove("--read-only")
    node.restart()
    finish(node, package)
    assert is_complete(node, package)
