"""docs/semantics.md, "Packages"."""

import errno
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from blobfs.manifest import Nested, render_manifest
from blobfs.model import EMPTY_BLOB, BlobId
from tests.mount.conftest import StartNode
from tests.mount.node import BlobfsNode
from tests.mount.probes import attribute, blob_id, errno_of, last_error, stored, until
from tests.mount.programs import bash, bash_fails, run
from tests.mount.test_semantics_reserved import ABSENT, write_blob
from tests.sync.fake_share import blob_of
from tests.sync.packages.made import Made, make, make_from

SMALL = {f"lib/{number:02}": b"content %d\n" % number * 50 for number in range(60)}
"""Enough for a bundle, and all in one window of it."""


def send(node: BlobfsNode, made: Made) -> Path:
    """Writes a package's blobs, one by one, the meta blob last; returns where it is seen then."""
    for blob, raw in [*made.blobs.items(), (made.package, made.meta)]:
        with suppress(FileExistsError):  # it is here, from another package
            assert write_blob(node, blob, raw) == 0
    return path_of(node, made)


def path_of(node: BlobfsNode, made: Made, name: str = "") -> Path:
    return node.path(f".blobfs/packages/{made.package}") / name


def complete(node: BlobfsNode, made: Made) -> Path:
    """The same by the protocol: a transaction on what is all here is complete when it is opened."""
    path = send(node, made)
    assert errno_of(node.path(f".blobfs/needed/{made.package}").mkdir) == errno.EEXIST
    return path


def look(root: Path) -> dict[bytes, tuple[str, object]]:
    """What a package keeps of a tree, as `lstat` and `read` show it."""
    top = os.fsencode(root)
    found: dict[bytes, tuple[str, object]] = {}
    for above, directories, files in os.walk(top):
        for name in directories + files:
            path = os.path.join(above, name)
            status = os.lstat(path)
            kind: object = None
            if stat.S_ISLNK(status.st_mode):
                kind = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                kind = (Path(os.fsdecode(path)).read_bytes(), status.st_mtime_ns, status.st_nlink)
            found[os.path.relpath(path, top)] = (stat.filemode(status.st_mode), kind)
    return found


def requests(node: BlobfsNode) -> dict[str, int]:
    """What it asked its shares for, by phase."""
    found: dict[str, int] = {}
    for share in node.status()["shares"]:
        for phase, count in share["requests"].items():
            found[phase] = found.get(phase, 0) + count
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory with everything that a package can hold."""
    root = tmp_path / "tree"
    for directory in ("bin", "empty", "deep/er/est", "\udcff\udcfe", "name with\nlines"):
        (root / directory).mkdir(parents=True)
    contents = {
        "bin/tool": b'#!/bin/sh\necho tool "$@"\n',
        "big": os.urandom(700_000),
        "nothing": b"",
        "deep/er/est/file": b"deep",
        "\udcff\udcfe/\udc80": b"no UTF-8",
        "name with\nlines/#=\\134 *": b"odd",
        ".blobfs-not-reserved-here": b"a name like any other",
    }
    for name, raw in contents.items():
        (root / name).write_bytes(raw)
    for link, target in {"link": "bin/tool", "out": "/nowhere/at all", "deep/up": "../../\udcff"}.items():
        (root / link).symlink_to(target)
    for number, path in enumerate(sorted(root.rglob("*"))):
        if not path.is_symlink() and path.is_file():
            path.chmod((0o644, 0o755, 0o600, 0o444, 0o700)[number % 5])
            os.utime(path, ns=(0, 1_600_000_000_123_456_789 + number))
    (root / "big").chmod(0o640)
    (root / "bin/tool").chmod(0o755)
    os.utime(root / "big", ns=(0, -1_500_000_001))
    (root / "empty").chmod(0o700)
    return root


def test_trees_are_as_they_were(two_nodes: tuple[BlobfsNode, BlobfsNode], tree: Path):
    """[S93] Names, modes, times, targets and bytes, where it was written and where it is loaded."""
    a, b = two_nodes
    made = make_from(tree)
    send(a, made)
    original = look(tree)
    for node in (a, b):
        path = path_of(node, made)
        assert look(path) == original
        assert run("diff", "-r", "--no-dereference", tree, path) == ""
        below = [each.lstat() for each in path.rglob("*")]
        assert {each.st_mtime_ns for each in below if not stat.S_ISREG(each.st_mode)} == {0}
        assert len({each.st_ino for each in below}) == len(below)
        assert {(each.st_uid, each.st_gid) for each in below} == {(os.getuid(), os.getgid())}


def test_listing_and_opening(two_nodes: tuple[BlobfsNode, BlobfsNode]):
    """[S92] [S40] What is complete here is listed; what is elsewhere opens by name."""
    a, b = two_nodes
    packages = [make({"name": b"%d" % number}) for number in range(3)]
    for made in packages:
        complete(a, made)
    only_meta = make({"name": b"nobody has this"})
    assert write_blob(a, only_meta.package, only_meta.meta) == 0
    view = a.path(".blobfs/packages")
    assert sorted(os.listdir(view)) == os.listdir(view) == sorted(made.package for made in packages)
    assert os.listdir(path_of(a, only_meta)) == ["name"]
    assert run("find", view, "-name", "name").count("\n") == 3
    assert os.listdir(b.path(".blobfs/packages")) == []
    assert {path_of(b, made, "name").read_bytes() for made in packages} == {b"0", b"1", b"2"}
    assert os.listdir(b.path(".blobfs/packages")) == []


def test_looking_loads_nothing(two_nodes: tuple[BlobfsNode, BlobfsNode], tree: Path):
    """[S94] `find`, `du`, `ls -lR` and `getfattr` ask for meta blobs only."""
    a, b = two_nodes
    inner = make({"x": os.urandom(100_000)})
    outer = make({f"{number}": os.urandom(20_000) for number in range(30)}, nested={"inner": inner})
    complete(a, outer)
    path = path_of(b, outer)
    assert os.listdir(path)
    until(lambda: attribute(b.blob(outer.package), "state") == "whole", "the meta blob is here")
    before = requests(b)
    assert run("find", path, "-name", "7", "-size", "+1k", "-newermt", "2020-01-01") == f"{path / '7'}\n"
    assert requests(b).get("blob", 0) - before.get("blob", 0) <= 3, "the inner meta blob and its size"
    until(lambda: attribute(b.blob(inner.package), "state") == "whole", "the inner meta blob is here")
    before = requests(b)
    run("ls", "-lR", path)
    run("du", "-a", path)
    run("getfattr", "-R", "-d", "-m", "-", path)
    assert requests(b) == before
    assert run("du", "-s", path).split()[0] == "0"
    assert int(run("du", "-s", "--apparent-size", path).split()[0]) >= 600
    assert {attribute(file, "present") for file in path.rglob("*") if file.is_file()} == {"0"}
    blobs = b.share / ".blobfs/blobs"
    files = {made.package for made in (outer, inner)}
    until(lambda: {each.name for each in blobs.iterdir()} == files, "the meta blobs are shared in turn")


def test_reading(two_nodes: tuple[BlobfsNode, BlobfsNode]):
    """[S95] One small file brings its neighbours; then no share is needed, nor after a restart."""
    a, b = two_nodes
    raw = os.urandom(400_000)
    made = make({**SMALL, "large": raw, "empty": b""})
    complete(a, made)
    until(lambda: (a.share / ".blobfs/bundles" / made.package).exists(), "A has the bundle")
    assert (path_of(b, made, "empty")).read_bytes() == b""
    first, *others = SMALL
    before = requests(b)
    assert path_of(b, made, first).read_bytes() == SMALL[first]
    assert attribute(path_of(b, made, first), "state") == "whole"
    last = path_of(b, made, others[-1])
    until(lambda: attribute(last, "present") == str(len(SMALL[others[-1]])), "its neighbours are here")
    until(lambda: last.stat().st_blocks > 0, "they count")
    for name in others:
        assert path_of(b, made, name).read_bytes() == SMALL[name]
    after = requests(b)
    assert after["bundle"] - before.get("bundle", 0) == 1
    assert after["blob"] == before["blob"]
    large = path_of(b, made, "large")
    assert attribute(large, "shares") == a.url
    with large.open("rb") as file:
        assert os.pread(file.fileno(), 100, 300_000) == raw[300_000:300_100]
    assert attribute(large, "state") in ("partial", "whole")
    assert large.read_bytes() == raw
    until(lambda: made.blobs.keys() - {EMPTY_BLOB} <= stored(b.share).keys(), "all of it is kept")
    os.setxattr(large, "user.blobfs.pinned", b"1")
    a.stop()
    b.restart()
    assert {name: path_of(b, made, name).read_bytes() for name in SMALL} == SMALL
    assert attribute(large, "pinned") == "1"
    assert "no file" not in run("diff", "-r", path_of(b, made), path_of(b, made))


@pytest.mark.usefixtures("steady_caches")
def test_what_is_not_there_is_remembered(node: BlobfsNode):
    """[S96] The second look at what a package does not hold asks the daemon for nothing."""
    path = send(node, make(SMALL))
    absent = [path / "lib" / f"none {number}" for number in range(50)]
    assert {errno_of(each.stat) for each in absent} == {errno.ENOENT}
    before = node.operations("lookup")
    for each in absent:
        assert errno_of(each.stat) == errno_of(partial(os.open, each, os.O_RDONLY)) == errno.ENOENT
    # The entrance may have been looked up again meanwhile, once a second.
    assert node.operations("lookup") - before < 25
    for each in absent:
        assert errno_of(partial(os.open, each, os.O_RDWR | os.O_CREAT)) == errno.EPERM
        assert errno_of(each.mkdir) == errno.EPERM
    node.path("d").mkdir()
    assert errno_of(node.path("d/x").stat) == errno.ENOENT
    before = node.operations("lookup")
    for _ in range(10):
        assert errno_of(node.path("d/x").stat) == errno.ENOENT
    assert node.operations("lookup") - before >= 10


def test_nested_packages(two_nodes: tuple[BlobfsNode, BlobfsNode]):
    """[S97] A directory like any other; one that cannot be had hides nothing else."""
    a, b = two_nodes
    inner = make({"d/x": b"inner"})
    middle = make({"y": b"middle"}, nested={"inner": inner})
    outer = make({"z": b"outer"}, nested={"lib/middle": middle})
    send(a, outer)
    assert path_of(b, outer, "lib/middle/inner/d/x").read_bytes() == b"inner"
    assert sorted(each.name for each in path_of(b, outer).rglob("*")) == sorted(
        ["d", "inner", "lib", "middle", "x", "y", "z"]
    )
    assert stat.filemode(path_of(b, outer, "lib/middle").stat().st_mode) == "drwxr-xr-x"
    broken = render_manifest([Nested(b"absent", BlobId(ABSENT)), Nested(b"wrong", blob_of(b"outer"))])
    assert write_blob(a, blob_id(broken), broken) == 0
    path = b.path(f".blobfs/packages/{blob_id(broken)}")
    assert os.listdir(path) == ["absent", "wrong"]
    assert run("ls", "-l", path).count("drwxr-xr-x") == 2
    assert errno_of(partial(os.listdir, path / "absent")) == errno.ENOENT
    assert errno_of((path / "absent/x").stat) == errno.ENOENT
    assert errno_of(partial(os.listdir, path / "wrong")) == errno.EBADMSG


def test_packages_are_read_only(node: BlobfsNode):
    """[S98] EPERM for every change; files may be given names, packages are by symlinks."""
    made = make(SMALL)
    path = send(node, made)
    node.path("mine").write_text("mine")
    attribute(node.path("mine"), "id")
    file, directory = path / "lib/00", path / "lib"
    for change in (
        (directory / "new").touch,
        (directory / "new").mkdir,
        partial(os.symlink, "x", directory / "new"),
        partial(os.link, node.path("mine"), directory / "new"),
        partial(os.rename, node.path("mine"), directory / "new"),
        partial(os.rename, node.path("mine"), file),
        partial(os.mkfifo, directory / "new"),
        partial(file.rename, directory / "new"),
        partial(file.rename, node.path("taken")),
        partial(directory.rename, node.path("taken")),
        file.unlink,
        directory.rmdir,
        path.rmdir,
        partial(os.open, file, os.O_WRONLY),
        partial(os.open, file, os.O_RDWR | os.O_CREAT),
        partial(os.open, file, os.O_RDONLY | os.O_TRUNC),
        partial(os.truncate, file, 0),
        partial(file.chmod, 0o777),
        partial(directory.chmod, 0o777),
        partial(path.chmod, 0o777),
        partial(os.utime, file),
        partial(os.utime, directory),
        partial(os.removexattr, file, "user.blobfs.id"),
        node.path(f".blobfs/packages/{ABSENT}").mkdir,
    ):
        assert errno_of(change) == errno.EPERM, change
    assert file.read_bytes() == SMALL["lib/00"]
    os.link(file, node.path("named"))
    assert (node.share / "named").read_bytes() == SMALL["lib/00"]
    assert stat.filemode(node.path("named").stat().st_mode) == "-r--r--r--"
    node.path("tool").symlink_to(f".blobfs/packages/{made.package}")
    assert run("diff", "-r", node.path("tool"), path) == ""


def test_linking_what_is_not_here(two_nodes: tuple[BlobfsNode, BlobfsNode]):
    """[S98] EXDEV, for which `mv` and `cp -l` copy."""
    a, b = two_nodes
    made = make({"f": b"content"})
    send(a, made)
    assert errno_of(partial(os.link, path_of(b, made, "f"), b.path("f"))) == errno.EXDEV


@pytest.mark.parametrize("arguments", [[], ["--read-only"]], ids=["writable", "read-only"])
def test_packages_that_cannot_be_had(start_node: StartNode, arguments: list[str]):
    """[S99] Absent, unreachable and wrong are told apart, on writable mounts too, and never remembered."""
    a = start_node("a", listen=True)
    b = start_node("b", shares=[a.url], arguments=arguments)
    made = make({"f": b"content", "other": b"other"})
    assert errno_of(path_of(b, made).stat) == errno.ENOENT
    for name in ("x", made.package[:-1], made.package.upper(), f"{made.package}0"):
        assert errno_of(b.path(f".blobfs/packages/{name}").stat) == errno.ENOENT
    assert write_blob(a, blob_id(b"no manifest"), b"no manifest") == 0
    assert errno_of(b.path(f".blobfs/packages/{blob_id(b'no manifest')}").stat) == errno.EBADMSG
    a.stop()
    assert errno_of(path_of(b, made).stat) == errno.EHOSTUNREACH
    a.start()
    send(a, made)
    until(lambda: errno_of(path_of(b, made, "f").stat) == 0, "it is found")
    assert path_of(b, made, "f").read_bytes() == b"content"
    until(lambda: attribute(b.blob(made.package), "state") == "whole", "the meta blob is here")
    a.stop()
    b.restart()
    assert os.listdir(path_of(b, made)) == ["f", "other"]
    assert path_of(b, made, "f").read_bytes() == b"content"
    b.expect_log("no share that may have it can be reached")
    assert errno_of(path_of(b, made, "other").read_bytes) == errno.EHOSTUNREACH
    assert last_error(path_of(b, made, "other"))


def test_packages_that_are_being_written(start_node: StartNode):
    """[S100] Not to be seen before they are complete, but for what a share has."""
    a = start_node("a", listen=True)
    b = start_node("b", shares=[a.url])
    made = make({"one": b"1", "two": b"2"})
    transaction = b.path(f".blobfs/needed/{made.package}")
    transaction.mkdir()
    (transaction / "meta").write_bytes(made.meta)
    assert errno_of(path_of(b, made).stat) == errno_of(path_of(b, made, "one").stat) == errno.ENOENT
    send(a, made)
    assert os.listdir(path_of(b, made)) == ["one", "two"]
    other = make({"three": b"3", "four": b"4"})
    transaction = b.path(f".blobfs/needed/{other.package}")
    transaction.mkdir()
    (transaction / "meta").write_bytes(other.meta)
    for blob, raw in other.blobs.items():
        assert errno_of(path_of(b, other).stat) == errno.ENOENT
        (transaction / "missing" / blob).write_bytes(raw)
    assert errno_of(transaction.stat) == errno.ENOENT
    assert sorted(os.listdir(path_of(b, other))) == ["four", "three"]
    assert os.listdir(b.path(".blobfs/packages")) == [other.package]


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """A directory with a program in Python, its library and its compiled files."""
    root = tmp_path / "program"
    library = root / "lib"
    for source in ("json", "email"):
        shutil.copytree(
            Path(os.__file__).parent / source, library / source, ignore=shutil.ignore_patterns("__pycache__")
        )
    (root / "main.py").write_text(
        "import sys; sys.path.insert(0, sys.path[0] + '/lib')\n"
        "import json, email.message, email.mime.text\n"
        "print(json.__file__, json.dumps({'a': 1}))\n"
    )
    (root / "run").write_text(f'#!/bin/sh\nexec {sys.executable} -S "$(dirname "$0")/main.py"\n')
    (root / "run").chmod(0o755)
    run(sys.executable, "-m", "compileall", "-q", root)
    return root


@pytest.mark.usefixtures("steady_caches")
def test_programs_run_from_packages(two_nodes: tuple[BlobfsNode, BlobfsNode], python: Path):
    """[S101] [S96] From the node that loads it; when it runs again it looks for nothing in vain."""
    a, b = two_nodes
    made = make_from(python)
    complete(a, made)
    path = path_of(b, made)
    for _ in range(2):
        assert run(path / "run") == f'{path}/lib/json/__init__.py {{"a": 1}}\n'
    before = {kind: b.operations(kind) for kind in ("lookup", "read", "readdir")}
    run(path / "run")
    after = {kind: b.operations(kind) for kind in before}
    assert after["read"] == before["read"]
    assert after["lookup"] - before["lookup"] < 10, (
        "the entrance, when its second is over, and what is before it"
    )
    assert after["readdir"] - before["readdir"] < 20


def test_copying_from_packages(node: BlobfsNode, tree: Path, tmp_path: Path):
    """[S101] `cp -a`, `tar c` and `rsync -a` give the tree as it was packed."""
    path = send(node, make_from(tree))
    original = look(tree)
    bash(f"cp -a {path}/. {tmp_path}/cp", tmp_path)
    bash(f"mkdir tar && tar c --format=posix -C {path} . | tar x -C tar", tmp_path)
    bash(f"rsync -a {path}/ rsync", tmp_path)
    for copy in ("cp", "tar", "rsync"):
        assert look(tmp_path / copy) == original
    assert "itself" not in bash_fails(f"cp {tree}/nothing {path}/new", tmp_path)


@pytest.mark.usefixtures("steady_caches")
def test_the_second_read_asks_for_nothing(two_nodes: tuple[BlobfsNode, BlobfsNode]):
    """[S101] The kernel keeps the pages, and with them what a large directory holds."""
    a, b = two_nodes
    made = make({"f": os.urandom(1_000_000)})
    send(a, made)
    path = path_of(b, made, "f")
    raw = path.read_bytes()
    before = b.operations("read")
    for _ in range(3):
        assert path.read_bytes() == raw
    assert b.operations("read") == before


@pytest.mark.usefixtures("steady_caches")
def test_large_directories(two_nodes: tuple[BlobfsNode, BlobfsNode]):
    """[S94] 10,000 files in one directory: `ls -l` gets everything with the listing."""
    a, b = two_nodes
    made = make({f"d/{number:05}": b"the same" for number in range(10_000)})
    send(a, made)
    path = path_of(b, made, "d")
    assert len(os.listdir(path_of(b, made))) == 1
    before = requests(b)
    looked = sum(b.operations(kind) for kind in ("lookup", "getattr"))
    assert run("ls", "-l", path).count("\n") == 10_001
    assert sum(b.operations(kind) for kind in ("lookup", "getattr")) - looked < 20
    assert requests(b) == before


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[str]:
    """A share that takes connections and says nothing."""
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import socket,time;s=socket.create_server(('127.0.0.1',0));"
            "print(s.getsockname()[1],flush=True);time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}/"
        server.kill()


def test_silent_shares(start_node: StartNode, hanging: str):
    """[S99] A look at a package ends within the bound of a lookup; what is here is not held up at all."""
    node = start_node(shares=[hanging], options=["fill=never", "lookup_timeout=0.5"])
    assert errno_of(path_of(node, make({"x": b"x"})).stat) in (errno.EHOSTUNREACH, errno.ETIMEDOUT)
    path = send(node, make(SMALL))
    assert run("diff", "-r", path, path) == ""
    assert (path / "lib/00").read_bytes() == SMALL["lib/00"]
