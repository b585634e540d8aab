"""docs/semantics.md, "What stays and what goes": quota, reserve, eviction, pins, and what does not fit."""

import errno
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.conftest import StartNode
from tests.mount.loop_disk import loop_disk
from tests.mount.node import BlobfsNode
from tests.mount.packages import is_complete, package_of, publish
from tests.mount.probes import (
    MIB,
    assert_one_line,
    assert_sound,
    attribute,
    blob_id,
    blobfs,
    errno_of,
    put,
    stored,
    until,
)

QUOTA = 24 * MIB
BLOB = 3 * MIB


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlobfsNode]:
    """Who has published everything."""
    with BlobfsNode(tmp_path_factory.mktemp("source"), "a", listen=True) as node:
        yield node


@pytest.fixture
def a(source: BlobfsNode) -> BlobfsNode:
    source.prolong()
    return source


def content_of(name: str, size: int = BLOB) -> bytes:
    return (name.encode() + b"-") * (size // (len(name) + 1))


def publish_many(a: BlobfsNode, directory: str, number: int) -> list[str]:
    names = [f"{directory}/{each:02}" for each in range(number)]
    for name in names:
        path = a.path(name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content_of(name))
    subprocess.run(["sync", "-f", a.mountpoint], check=True, timeout=20)
    return names


def taken(node: BlobfsNode) -> int:
    """Bytes of the disk, as du counts them."""
    done = subprocess.run(["du", "-sB1", node.store], capture_output=True, text=True, timeout=20, check=False)
    return int(done.stdout.split()[0])


def is_here(node: BlobfsNode, name: str) -> bool:
    return node.store.joinpath("share/.blobfs/blobs", blob_id(content_of(name))).exists()


def kept(node: BlobfsNode, name: str) -> None:
    """Reads it, and waits until it is in the share."""
    assert node.path(name).read_bytes() == content_of(name)
    until(lambda: is_here(node, name), f"{name} is kept")


def test_a_quota(a: BlobfsNode, start_node: StartNode):
    """[S110] Whatever is read in turn, the store stays below its quota; what was used last is what stays."""
    names = publish_many(a, "turns", 16)
    b = start_node("b", shares=[a.url], options=["fill=never", f"quota={QUOTA}"])
    mine = os.urandom(BLOB)
    put(b, "mine", mine)
    kept(b, names[0])
    assert blobfs("pin", b.mountpoint, names[0]).stdout == f"pinned {names[0]}\n"
    most = 0
    for name in names[1:]:
        kept(b, name)
        most = max(most, taken(b))
    assert most <= QUOTA
    assert b.status()["space"]["evicted"] >= 8
    assert b.status()["space"]["passed_bytes"] == 0
    assert is_here(b, names[0])
    assert is_here(b, names[-1])
    assert not is_here(b, names[1])
    assert b.path("mine").read_bytes() == mine
    assert b.path(names[1]).read_bytes() == content_of(names[1])
    assert_sound(b.share)


def test_a_quota_that_is_lowered(a: BlobfsNode, start_node: StartNode):
    """[S110] What is too much then goes at the start, without anybody reading."""
    names = publish_many(a, "lowered", 5)
    b = start_node("b", shares=[a.url])
    for name in names:
        kept(b, name)
    b.stop()
    b.options.append(f"quota={8 * MIB}")
    b.start()
    until(lambda: taken(b) <= 8 * MIB, "what is too much is gone")
    assert is_here(b, names[-1])


def test_what_is_evicted_is_missing_and_comes_again(a: BlobfsNode, start_node: StartNode):
    """[S111] Its name stays, with its size and times; reading it loads it, and it is shared in turn again."""
    name = publish_many(a, "again", 1)[0]
    b = start_node("b", shares=[a.url], listen=True)
    kept(b, name)
    before = b.path(name).stat()
    until(lambda: (b.share / name).exists(), "it is shared in turn")
    done = blobfs("evict", b.mountpoint, name)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"evicted {name}, 3.0 MiB freed")
    assert not is_here(b, name)
    assert not (b.share / name).exists()
    assert list((b.share / ".blobfs/trees").iterdir()) == []
    after = b.path(name).stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (
        before.st_size,
        before.st_mtime_ns,
        before.st_ino,
    )
    assert attribute(b.path(name), "state") == "missing"
    until(lambda: b.path(name).stat().st_blocks == 0, "du knows")
    assert os.listdir(b.path("again")) == ["00"]
    b.restart()
    kept(b, name)
    until(lambda: (b.share / name).exists(), "it is shared in turn again")
    assert os.path.samefile(b.share / name, b.share / ".blobfs/blobs" / blob_id(content_of(name)))


def test_what_has_just_been_read_is_evicted(a: BlobfsNode, start_node: StartNode):
    """[S111] Also while it is on its way to the share, where loaded blobs gather for a moment."""
    names = publish_many(a, "just", 3)
    b = start_node("b", shares=[a.url])
    for name in names:
        assert b.path(name).read_bytes() == content_of(name)
        done = blobfs("evict", b.mountpoint, name)
        assert (done.returncode, done.stderr) == (0, "")
        assert not is_here(b, name)


def test_what_is_never_evicted(a: BlobfsNode, start_node: StartNode):
    """[S112] What this node published, what is pinned, what somebody reads, what a package of it holds."""
    names = publish_many(a, "never", 4)
    b = start_node("b", shares=[a.url])
    put(b, "own", content_of("own"))
    for name in names:
        kept(b, name)
    put(b, "copy", content_of(names[0]))
    os.setxattr(b.path(names[1]), "user.blobfs.pinned", b"1")
    package = package_of({b"file": content_of("file", 10_000)})
    publish(b, package)
    with b.path(names[2]).open("rb") as reading:
        answers = json.loads(blobfs("evict", "--json", b.mountpoint, "own", *names, package.package).stdout)
        assert reading.read(10) == content_of(names[2])[:10]
    assert [(each["state"], each.get("error")) for each in answers] == [
        ("failed", "this node published it"),
        ("failed", "a package or a name of this node holds it"),
        ("failed", "it is pinned"),
        ("failed", "somebody is reading it"),
        ("done", None),
        ("failed", "this node published it"),
    ]
    assert {each["errno"] for each in answers if each["state"] == "failed"} == {"EPERM"}
    assert [is_here(b, name) for name in names] == [True, True, True, False]
    assert blobfs("unpin", b.mountpoint, names[1]).returncode == 0
    assert attribute(b.path(names[1]), "pinned") == "0"
    done = blobfs("evict", b.mountpoint, "never")
    assert done.returncode == 0
    assert "2 blobs, 6.0 MiB freed" in done.stdout
    assert [is_here(b, name) for name in names] == [True, False, False, False]
    assert b.path("copy").read_bytes() == content_of(names[0])


def test_pin_brings_it_here(a: BlobfsNode, start_node: StartNode):
    """[S113] pin loads what is missing; a pin outlives a restart; what nobody has cannot be pinned."""
    names = publish_many(a, "pins", 2)
    b = start_node("b", shares=[a.url])
    assert blobfs("pin", b.mountpoint, "pins").stdout == "pinned pins, 2 blobs\n"
    assert all(is_here(b, name) for name in names)
    b.restart()
    assert {attribute(b.path(name), "pinned") for name in names} == {"1"}
    done = blobfs("evict", b.mountpoint, "pins")
    assert done.stdout.splitlines() == [
        "evicted pins, 0 blobs, 0 bytes freed",
        "  2 blobs left: it is pinned",
    ]
    done = blobfs("pin", b.mountpoint, "nothing")
    assert done.returncode == 1
    assert_one_line(done)
    assert blobfs("evict", b.mountpoint, "nothing").returncode == 1


def test_a_loaded_package_goes_whole(a: BlobfsNode, start_node: StartNode):
    """[S114] A package that was loaded is evicted with its blobs; it is loaded again like any other."""
    package = package_of({b"one": content_of("one", 50_000), b"two": content_of("two", 300_000)})
    publish(a, package)
    b = start_node("b", shares=[a.url])
    assert blobfs("load", b.mountpoint, package.package).returncode == 0
    assert set(stored(b.share)) == {package.package, *package.blobs}
    assert blobfs("evict", b.mountpoint, *package.blobs).returncode == 1
    assert blobfs("evict", b.mountpoint, package.package).returncode == 0
    assert stored(b.share) == {}
    assert list((b.store / "packages").iterdir()) == []
    assert b.path(f".blobfs/packages/{package.package}/one").read_bytes() == content_of("one", 50_000)


def test_what_does_not_fit_is_passed_through(a: BlobfsNode, start_node: StartNode):
    """[S115] A blob that is larger than the room there is reaches its reader whole and is not kept whole."""
    small = publish_many(a, "small", 1)[0]
    name, content = "large", os.urandom(QUOTA * 2)
    put(a, name, content)
    b = start_node("b", shares=[a.url], options=["fill=never", f"quota={QUOTA}"])
    assert b.path(name).read_bytes() == content
    space = b.status()["space"]
    assert space["passed_bytes"] >= QUOTA
    assert taken(b) <= QUOTA
    done = blobfs("load", b.mountpoint, name)
    assert done.returncode == 1
    assert "quota" in done.stderr
    until(lambda: blobfs("load", b.mountpoint, small).returncode == 0, "the large one goes for it")
    assert is_here(b, small)


def test_writing_over_the_quota(start_node: StartNode):
    """[S116] EDQUOT, and nothing that was written before is lost; what is removed makes room."""
    b = start_node("b", options=["fill=never", f"quota={QUOTA}"])
    content = os.urandom(QUOTA // 2)
    put(b, "one", content)
    assert errno_of(lambda: b.path("two").write_bytes(bytes(QUOTA))) == errno.EDQUOT
    b.path("two").unlink()
    assert b.path("one").read_bytes() == content
    b.path("one").unlink()
    until(lambda: stored(b.share) == {}, "its bytes are gone")
    put(b, "three", content)
    assert b.path("three").read_bytes() == content


def test_writing_has_room_made(a: BlobfsNode, start_node: StartNode):
    """[S116] What was loaded goes for what is written."""
    names = publish_many(a, "given", 6)
    b = start_node("b", shares=[a.url], options=["fill=never", f"quota={QUOTA}"])
    for name in names:
        kept(b, name)
    content = os.urandom(QUOTA * 3 // 4)
    put(b, "mine", content)
    assert b.path("mine").read_bytes() == content
    assert sum(is_here(b, name) for name in names) <= 2


def test_a_package_has_room_made(a: BlobfsNode, start_node: StartNode):
    """[S116] The same for what is written into a transaction, small blobs and large ones."""
    names = publish_many(a, "for-a-package", 6)
    b = start_node("b", shares=[a.url], options=["fill=never", f"quota={QUOTA}"])
    for name in names:
        kept(b, name)
    small = {b"small%d" % number: os.urandom(100_000) for number in range(20)}
    package = package_of({**small, b"large": os.urandom(QUOTA // 2)})
    publish(b, package)
    assert is_complete(b, package)
    assert sum(is_here(b, name) for name in names) <= 3


def test_a_full_disk_and_what_helps(a: BlobfsNode, start_node: StartNode, tmp_path: Path):
    """[S117] On a full disk what is missing is read, `status` and `evict` answer, and evict makes room."""
    names = publish_many(a, "full", 5)
    with loop_disk(tmp_path / "b-store") as disk:
        b = start_node("b", shares=[a.url])
        b.expect_log("No space left on device|could not seal", perhaps=True)
        for name in names[:3]:
            kept(b, name)
        disk.fill()
        assert b.path(names[3]).read_bytes() == content_of(names[3])
        assert b.path(names[0]).read_bytes() == content_of(names[0])
        assert blobfs("status", b.mountpoint).returncode == 0
        assert blobfs("evict", b.mountpoint, "full").returncode == 0
        until(lambda: disk.free() > 2 * BLOB, "there is room")
        kept(b, names[4])
        assert_sound(b.share)
        b.stop()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("quota=900000G", "is more than the partition has"),
        ("reserve=900000G", "is all of the partition"),
        ("quota=lots", "expected a size like 500M or 10G"),
        ("quota=-1", "expected a size"),
    ],
)
def test_settings_that_make_no_sense(option: str, message: str, tmp_path: Path):
    """[S110] They are refused at the start, in one line, before anything is mounted."""
    (tmp_path / "mnt").mkdir()
    done = blobfs("mount", "--store", tmp_path / "store", "-o", option, tmp_path / "mnt")
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
