"""The NeededBlobs protocol on a real mount: whatever is here before, whoever writes, in whatever order.

Every test ends with a package that is complete, blob by blob, or with nothing at all.
"""

import errno
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from blobfs.model import CHUNK_SIZE, LEAF_SIZE, BlobId
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
from tests.mount.probes import MIB, attribute, blob_id, errno_of, until
from tests.mount.programs import bash, run, sync_directory
from tests.sync.packages.made import Made

SMALL, LARGE = 20_000, 300_000


@pytest.fixture
def node(shared_node: BlobfsNode) -> Iterator[BlobfsNode]:
    """One for all these tests: what they write is random, so they do not meet."""
    shared_node.prolong()
    shared_node.expect_log("the transaction on [0-9a-f]* failed: ", perhaps=True)
    yield shared_node
    shared_node.check_log()


def some(count: int, size: int = SMALL) -> dict[bytes, bytes]:
    """Files that nobody has."""
    return {b"some/%d/%d" % (size, number): os.urandom(size + number) for number in range(count)}


def put_name(node: BlobfsNode, raw: bytes) -> Path:
    """It is here under a name, and sealed."""
    path = node.path(f"name-of-{blob_id(raw)}")
    path.write_bytes(raw)
    attribute(path, "id")
    return path


# What is here before


@pytest.mark.parametrize("present", range(5))
def test_partly_present_packages(node: BlobfsNode, present: int):
    """What is here already is not asked for; what is here in part or not at all is."""
    package = package_of({**some(2), **some(4, LARGE)})
    blobs = sorted(package.blobs)
    for blob in blobs[:present]:
        put_name(node, package.blobs[blob])
    begin(node, package)
    assert os.listdir(missing(node, package)) == blobs[present:]
    finish(node, package)
    assert is_complete(node, package)


def test_the_meta_blob_is_here_before(node: BlobfsNode):
    """Then it is needed no more, and what it needs is listed from the first moment."""
    package = package_of(some(3))
    put_name(node, package.meta)
    directory(node, package).mkdir()
    assert meta(node, package).read_bytes() == package.meta
    assert os.listdir(missing(node, package)) == sorted(package.blobs)
    assert errno_of_write(meta(node, package), package.meta, WRITE | os.O_EXCL) == errno.EEXIST
    finish(node, package)
    assert is_complete(node, package)


def test_a_package_that_is_complete_is_there_at_once(node: BlobfsNode):
    """Nothing is written again: EEXIST, and the package can be read."""
    package = package_of({b"d/f": os.urandom(LARGE), b"g": b""})
    publish(node, package)
    before = node.operations("write")
    for _ in range(3):
        assert errno_of(directory(node, package).mkdir) == errno.EEXIST
        assert not is_open(node, package)
    assert node.operations("write") == before
    view = node.path(f".blobfs/packages/{package.package}")
    assert blob_id((view / "d/f").read_bytes()) in package.blobs
    assert (view / "g").read_bytes() == b""


def test_a_blob_that_is_here_at_the_second_open(node: BlobfsNode):
    """An aborted transaction's blob that something else holds needs no writing the next time."""
    package = package_of(some(3))
    blob, raw = next(iter(package.blobs.items()))
    begin(node, package)
    write(missing(node, package, blob), raw)
    os.link(node.blob(blob), node.path(f"keeps-{blob}"))
    directory(node, package).rmdir()
    begin(node, package)
    assert blob not in os.listdir(missing(node, package))
    finish(node, package)
    assert is_complete(node, package)


def test_blobs_written_before_anybody_asked(node: BlobfsNode):
    """Through `incoming` they are there for good; in a transaction without its meta blob it is too early."""
    package = package_of({b"a": os.urandom(SMALL), b"b": os.urandom(LARGE)})
    (first, first_raw), (second, second_raw) = package.blobs.items()
    directory(node, package).mkdir()
    assert errno_of_write(missing(node, package, first), first_raw) == errno.EPROTO
    for blob, raw in package.blobs.items():
        write(node.path(f".blobfs/incoming/{blob}"), raw)
    assert errno_of_write(missing(node, package, second), second_raw) == errno.EPROTO
    assert state(node, package) == "need-meta"
    write(meta(node, package), package.meta)
    assert is_complete(node, package)


# The meta blob


def test_two_writers_of_the_meta_blob(node: BlobfsNode):
    """Neither sees the other's bytes; the first to complete it wins, the other sees success."""
    package = package_of(some(2))
    directory(node, package).mkdir()
    one, two = (os.open(meta(node, package), WRITE) for _ in range(2))
    os.write(one, package.meta[:40])
    os.write(two, package.meta)
    os.fsync(two)
    assert state(node, package) == "need-blobs 2 of 2"
    os.write(one, b"whatever")
    for descriptor in (one, two):
        assert errno_of(partial(os.close, descriptor)) == 0
    assert errno_of_write(meta(node, package), package.meta) == errno.EPERM
    finish(node, package)
    assert is_complete(node, package)


@pytest.mark.parametrize(
    "raw",
    [b"#mtree", b"#mtree\n./a type=dir\n", b"#mtree\n./b/c type=dir mode=0755\n", bytes(100_000)],
    ids=["no line feed", "no mode", "no parent", "zeros"],
)
def test_right_bytes_that_are_no_manifest(node: BlobfsNode, raw: bytes):
    """EBADMSG whatever is wrong with it; nobody can go on, and an abort clears it away."""
    package = package_with(raw)
    directory(node, package).mkdir()
    with meta(node, package).open("wb", buffering=0) as file:
        file.write(raw)
        assert errno_of(partial(os.fsync, file.fileno())) == errno.EBADMSG
        assert state(node, package).startswith("failed: ")
        directory(node, package).rmdir()
        assert errno_of(partial(os.fsync, file.fileno())) == errno.ESTALE
        os.dup2(os.open(os.devnull, os.O_RDONLY), file.fileno())  # a close is ESTALE too
    assert is_absent(node, package)


def test_a_blob_that_is_here_and_no_manifest(node: BlobfsNode):
    """It is opened, for nobody knows yet what it is, and has failed."""
    package = package_with(os.urandom(100))
    put_name(node, package.meta)
    directory(node, package).mkdir()
    assert state(node, package).startswith("failed: ")
    assert os.listdir(missing(node, package)) == []
    directory(node, package).rmdir()
    assert is_absent(node, package)


def test_a_package_of_nothing(node: BlobfsNode):
    """A manifest without entries is a package, and its meta blob all that it needs."""
    package = package_of({})
    directory(node, package).mkdir()
    write(meta(node, package), package.meta)
    assert is_complete(node, package)


# Nested packages, duplicates


def nest(depth: int) -> Made:
    """Every level has a file of its own, and one that all have."""
    shared = os.urandom(LARGE)
    package = package_of({b"shared": shared, **some(1)})
    for _ in range(depth - 1):
        package = package_of({b"shared": shared, b"deeper": package, **some(1)})
    return package


@pytest.mark.parametrize("here", [False, True], ids=["absent", "its nested meta blobs are here"])
def test_nested_three_deep(node: BlobfsNode, here: bool):
    """What nested packages need shows up as their meta blobs come; what all have is written once."""
    package = nest(3)
    metas = [raw for raw in package.blobs.values() if raw.startswith(b"#mtree\n")]
    assert len(metas) == 2
    if here:
        for raw in metas:
            put_name(node, raw)
    begin(node, package)
    assert len(os.listdir(missing(node, package))) == (4 if here else 3)
    before = node.operations("open") + node.operations("create")
    finish(node, package)
    opened = node.operations("open") + node.operations("create") - before
    assert opened == len(package.blobs) - (2 if here else 0)
    assert is_complete(node, package)


def test_what_is_nested_is_a_package_of_its_own(node: BlobfsNode):
    """When the outer one is complete everything of it is here: it is complete as soon as it is asked for."""
    inner = package_of(some(3))
    outer = package_of({b"inner": inner, **some(1)})
    publish(node, outer)
    assert errno_of(directory(node, inner).mkdir) == errno.EEXIST
    assert is_complete(node, inner)


def test_duplicates(node: BlobfsNode):
    """One content in many files of several packages is one blob, written once."""
    raw = os.urandom(SMALL)
    packages = [package_of({**{b"%d" % each: raw for each in range(5)}, **some(1)}) for _ in range(3)]
    for package in packages:
        begin(node, package)
        assert len(os.listdir(missing(node, package))) == 2
    write(missing(node, packages[0], blob_id(raw)), raw)
    for package in packages:
        until(lambda found=package: len(os.listdir(missing(node, found))) == 1, "it is here for all")  # type: ignore[misc]
        finish(node, package)
        assert is_complete(node, package)


# Who writes


def test_a_hundred_blobs_by_many_threads(node: BlobfsNode):
    """All at once."""
    package = package_of({**some(80, 3_000), **{b"l%d" % each: os.urandom(LARGE) for each in range(20)}})
    begin(node, package)
    with ThreadPoolExecutor(16) as threads:
        paths = {missing(node, package, blob): raw for blob, raw in package.blobs.items()}
        failed = list(threads.map(errno_of_write, paths, paths.values()))
    assert failed == [0] * 100
    assert is_complete(node, package)


def test_a_hundred_blobs_by_many_processes(node: BlobfsNode, tmp_path: Path):
    """Each blob by a process of its own, eight at a time."""
    package = package_of({**some(90, 3_000), **{b"l%d" % each: os.urandom(LARGE) for each in range(10)}})
    for blob, raw in package.blobs.items():
        (tmp_path / blob).write_bytes(raw)
    begin(node, package)
    bash(f"ls missing | xargs -P 8 -I ID cp {tmp_path}/ID missing/ID", directory(node, package))
    assert is_complete(node, package)


def test_two_writers_of_everything(node: BlobfsNode):
    """Both write all that is missing: each blob is written once at least, and both succeed."""
    package = package_of({**some(30, 3_000), **some(33, LARGE)})
    begin(node, package)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: finish(node, package), range(4)))
    assert is_complete(node, package)


def test_two_packages_with_the_same_blobs(node: BlobfsNode):
    """Both writers succeed, and the abort of a third transaction takes nothing away."""
    shared = {b"s%d" % each: os.urandom(5_000) for each in range(20)}
    first, second, third = (package_of({**shared, **some(5)}) for _ in range(3))
    for package in (first, second, third):
        begin(node, package)
    with ThreadPoolExecutor(3) as threads:
        writing = [threads.submit(finish, node, package) for package in (first, second)]
        directory(node, third).rmdir()
        for each in writing:
            each.result()
    run("sync", node.mountpoint)
    assert is_absent(node, third)
    for package in (first, second):
        assert is_complete(node, package)


def test_a_writer_that_is_killed(node: BlobfsNode, tmp_path: Path):
    """Half a blob leaves nothing; the next writer begins anew."""
    package = package_of(some(1, 5 * MIB))
    ((blob, raw),) = package.blobs.items()
    begin(node, package)
    (tmp_path / "part").write_bytes(raw[: 2 * MIB])
    before = node.operations("write")
    writer = subprocess.Popen(
        ["bash", "-c", f"exec 3>missing/{blob}; cat {tmp_path}/part >&3; kill -STOP $$"],
        cwd=directory(node, package),
    )
    until(lambda: node.operations("write") >= before + 16, "it has written")
    writer.kill()
    writer.wait(10)
    until(lambda: list((node.store / "incoming").glob("*")) == [], "what it wrote is gone")
    assert state(node, package) == "need-blobs 1 of 1"
    finish(node, package)
    assert is_complete(node, package)


# How it is written

SIZES = [0, 1, LEAF_SIZE, LEAF_SIZE + 1, CHUNK_SIZE, CHUNK_SIZE + 1, MIB, 5 * MIB]
ORDERS: dict[str, Callable[[list[int]], list[int]]] = {
    "sequential": list,
    "backwards": lambda starts: starts[::-1],
    "random": lambda starts: random.Random(7).sample(starts, len(starts)),
}


@pytest.mark.parametrize("declared", [False, True], ids=["", "ftruncate"])
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_sizes_and_orders(node: BlobfsNode, order: Callable[[list[int]], list[int]], declared: bool):
    """Each size in pieces, more than are remembered, in each order, with and without ftruncate before."""
    package = package_of({b"%d" % size: os.urandom(size) for size in SIZES})
    begin(node, package)
    for blob, raw in package.blobs.items():
        if not missing(node, package, blob).exists():
            continue  # the empty one, of the test before
        descriptor = os.open(missing(node, package, blob), os.O_WRONLY)
        if declared:
            os.ftruncate(descriptor, len(raw))
        step = max(1, len(raw) // 83)
        for start in order(list(range(0, len(raw), step))):
            os.pwrite(descriptor, raw[start : start + step], start)
        os.close(descriptor)
        assert errno_of(missing(node, package, blob).stat) == errno.ENOENT
    assert is_complete(node, package)


def test_appending(node: BlobfsNode):
    """O_APPEND goes on at the end of what was written, not at the size that the file will have."""
    package = package_of({b"%d" % size: os.urandom(size) for size in SIZES[1:]})
    begin(node, package)
    for blob, raw in package.blobs.items():
        write(missing(node, package, blob), raw, os.O_WRONLY | os.O_APPEND, step=max(1, len(raw) // 13))
    assert is_complete(node, package)


# Aborts


def aborted_before_its_meta_blob(node: BlobfsNode, package: Made) -> None:
    directory(node, package).mkdir()


def aborted_while_its_meta_blob_is_written(node: BlobfsNode, package: Made) -> None:
    directory(node, package).mkdir()
    os.write(os.open(meta(node, package), WRITE), package.meta[:10])


def aborted_with_all_blobs_missing(node: BlobfsNode, package: Made) -> None:
    begin(node, package)


def aborted_with_one_blob_missing(node: BlobfsNode, package: Made) -> None:
    begin(node, package)
    for blob in sorted(package.blobs)[1:]:
        write(missing(node, package, blob), package.blobs[BlobId(blob)])


def aborted_while_a_blob_is_written(node: BlobfsNode, package: Made) -> None:
    aborted_with_one_blob_missing(node, package)
    os.write(os.open(missing(node, package, min(package.blobs)), os.O_WRONLY), b"x")


ABORTS = (
    aborted_before_its_meta_blob,
    aborted_while_its_meta_blob_is_written,
    aborted_with_all_blobs_missing,
    aborted_with_one_blob_missing,
    aborted_while_a_blob_is_written,
)


@pytest.fixture
def descriptors() -> Iterator[None]:
    """What a test leaves open is closed; that is ESTALE here."""
    before = {int(entry) for entry in os.listdir("/proc/self/fd")}
    yield
    for entry in os.listdir("/proc/self/fd"):
        if int(entry) not in before:
            errno_of(partial(os.close, int(entry)))


@pytest.mark.usefixtures("descriptors")
@pytest.mark.parametrize("come_to", ABORTS)
def test_an_abort_in_every_state(node: BlobfsNode, come_to: Callable[[BlobfsNode, Made], None]):
    """Nothing is left of it, no blob that it wrote stays, and it can be made anew."""
    package = package_of({**some(2), **some(3, LARGE)})
    assert errno_of(directory(node, package).rmdir) == errno.ENOENT
    come_to(node, package)
    directory(node, package).rmdir()
    assert is_absent(node, package)
    assert errno_of(directory(node, package).rmdir) == errno.ENOENT
    shared = node.share / ".blobfs/blobs"
    blobs = [package.package, *package.blobs]
    until(lambda: not any((shared / blob).exists() for blob in blobs), "what was written is gone")
    publish(node, package)
    assert errno_of(directory(node, package).rmdir) == errno.ENOENT
    assert is_complete(node, package)


# Names that go

STEPS = ("before", "mkdir", "meta", "first blob", "complete")


@pytest.mark.parametrize("step", STEPS)
def test_names_that_go_between_two_steps(node: BlobfsNode, step: str):
    """What the transaction has found here is held by it: removing the last name takes no blob away."""
    package = package_of({b"small": os.urandom(SMALL), b"large": os.urandom(LARGE), **some(2)})
    blobs = sorted(package.blobs, key=lambda blob: len(package.blobs[blob]))
    names = [put_name(node, raw) for raw in (package.meta, *(package.blobs[blob] for blob in blobs[:3]))]

    def go() -> None:
        """All names, and time for what they held to go."""
        for name in names:
            name.unlink()
        sync_directory(node.path())

    if step == "before":
        go()
    directory(node, package).mkdir()
    if step == "mkdir":
        go()
    if step == "before":
        assert os.listdir(missing(node, package)) == []
        write(meta(node, package), package.meta)
        assert len(os.listdir(missing(node, package))) == 4
    else:
        assert os.listdir(missing(node, package)) == blobs[3:]
    if step == "meta":
        go()
    write(missing(node, package, blobs[3]), package.blobs[blobs[3]])
    if step == "first blob":
        go()
    finish(node, package)
    if step == "complete":
        go()
    assert is_complete(node, package)
    for blob, raw in package.blobs.items():
        assert node.blob(blob).read_bytes() == raw


def test_whole_trees_that_go(node: BlobfsNode):
    """Names come and go while packages with the same content are written: all of them are complete."""
    packages = [package_of(some(10, 4_000)) for _ in range(4)]
    tree = node.path("tree-that-goes")

    def rename_and_remove(package: Made) -> None:
        place = tree / package.package
        place.mkdir(parents=True)
        for blob, raw in package.blobs.items():
            (place / blob).write_bytes(raw)
        shutil.rmtree(place)

    with ThreadPoolExecutor(8) as threads:
        going = [threads.submit(rename_and_remove, package) for package in packages]
        writing = [threads.submit(publish, node, package) for package in packages]
        for each in (*going, *writing):
            each.result()
    run("sync", node.mountpoint)
    assert all(is_complete(node, package) for package in packages)


def test_what_a_transaction_holds_is_what_is_not_missing(node: BlobfsNode):
    """On the disk too, at every moment at which nobody writes."""
    package = nest(2)
    directory(node, package).mkdir()
    assert held(node, package, "needed") == {}
    write(meta(node, package), package.meta)
    while blobs := os.listdir(missing(node, package)) if is_open(node, package) else []:
        here = held(node, package, "needed")
        assert here is not None
        assert not set(blobs) & set(here)
        assert all(blob_id(raw) == blob for blob, raw in here.items())
        write(missing(node, package, blobs[0]), package.blobs[BlobId(blobs[0])])
    assert is_complete(node, package)
