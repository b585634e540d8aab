"""``blobfs pack`` on a real mount, run as somebody runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from blobfs.bundle import BUNDLED_UP_TO
from tests.cli.pack_trees import many_files, package_of, write_tree
from tests.mount.conftest import StartNode
from tests.mount.node import BlobfsNode
from tests.mount.programs import on_terminal, run
from tests.structure import ROOT

SECONDS = 30
COMMAND = (sys.executable, "-P", "-m", "blobfs", "pack")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def pack(node: BlobfsNode, directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *options, node.mountpoint, directory],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def packed(node: BlobfsNode, directory: Path, *options: str) -> dict[str, Any]:
    """What was done, by its own word."""
    done = pack(node, directory, "--json", *options)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def path_of(node: BlobfsNode, package: str) -> Path:
    return node.path(f".blobfs/packages/{package}")


def look_at(directory: Path) -> dict[bytes, tuple[object, ...]]:
    """Everything of a tree that a package keeps."""
    found: dict[bytes, tuple[object, ...]] = {}
    root = os.fsencode(directory)
    for parent, directories, files in os.walk(root):
        for name in [*directories, *files]:
            path = os.path.join(parent, name)
            stat = os.lstat(path)
            below = os.path.relpath(path, root)
            if os.path.islink(path):
                found[below] = ("link", os.readlink(path))
            elif name in directories:
                found[below] = ("directory", stat.st_mode & 0o7777)
            else:
                with open(path, "rb") as file:
                    found[below] = ("file", stat.st_mode & 0o7777, stat.st_mtime_ns, file.read())
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """With everything that a tree may have."""
    directory = write_tree(
        tmp_path / "tree",
        {
            "bin/tool": b"#!/bin/sh\n" * 100,
            "big": os.urandom(BUNDLED_UP_TO * 3 + 1),
            "empty": b"",
            "same": b"",
        }
        | many_files(20),
    )
    (directory / "bin/tool").chmod(0o755)
    (directory / "none").mkdir(mode=0o700)
    (directory / "link").symlink_to("bin/tool")
    (directory / "out").symlink_to("/usr/bin/env")
    for name in (b"a b", b"new\nline", b"\xff\xfe", b"back\\slash", b"#x=*", b"-rf"):
        with open(os.fsencode(directory) + b"/" + name, "wb") as file:
            file.write(name)
    os.utime(directory / "empty", ns=(0, 1_234_567_890))
    return directory


def test_a_tree_is_published(node: BlobfsNode, tree: Path) -> None:
    """The package is the tree, and packing that again has the same id."""
    found = packed(node, tree)
    assert found["id"] == package_of(tree).id
    assert (found["files"], found["written"]) == (30, found["bytes"])
    package = path_of(node, found["id"])
    assert look_at(package) == look_at(tree)
    assert packed(node, package)["id"] == found["id"]


def test_again(node: BlobfsNode, tree: Path) -> None:
    """What is published already is not written again, also by a node that was killed meanwhile."""
    first = packed(node, tree)
    node.kill9()
    node.restart()
    assert packed(node, tree) == first | {"written": 0}


def test_only_what_is_new_is_written(node: BlobfsNode, tree: Path) -> None:
    """Another version of a tree costs its difference."""
    packed(node, tree)
    (tree / "bin/tool").write_bytes(b"another one")
    assert packed(node, tree)["written"] == len("another one")


def test_a_name_for_it(node: BlobfsNode, tree: Path) -> None:
    """It shows the tree, the next time the new one; the directories above it are made."""
    packed(node, tree, "--name", "tools/mine")
    assert look_at(node.path("tools/mine/")) == look_at(tree)
    (tree / "bin/tool").write_bytes(b"another one")
    found = packed(node, tree, "--name", str(node.path("tools/mine")))
    assert found["name"] == "tools/mine"
    assert node.path("tools/mine/bin/tool").read_bytes() == b"another one"
    assert os.listdir(node.path("tools")) == ["mine"]


def test_a_name_that_is_taken(node: BlobfsNode, tree: Path) -> None:
    """It stays, and nothing is published."""
    node.path("mine").write_bytes(b"mine")
    done = pack(node, tree, "--name", "mine")
    assert (done.returncode, done.stderr) == (1, "Error: mine is there already and no symlink\n")
    assert node.path("mine").read_bytes() == b"mine"
    assert not path_of(node, package_of(tree).id).exists()


def test_an_export_is_the_original(node: BlobfsNode, tree: Path, tmp_path: Path) -> None:
    """bsdtar makes an archive of the manifest alone, in the directory of all blobs."""
    package = packed(node, tree)["id"]
    exported = tmp_path / "exported"
    exported.mkdir()
    options = ("--format=pax", "--options", "hdrcharset=BINARY")
    run("bsdtar", "-cf", tmp_path / "out.tar", *options, f"@{package}", cwd=node.path(".blobfs/blobs"))
    run("bsdtar", "-xpf", tmp_path / "out.tar", "-C", exported)
    assert look_at(exported) == look_at(tree)


def test_another_node_reads_it(two_nodes: tuple[BlobfsNode, BlobfsNode], tree: Path) -> None:
    """By its name, loaded from the first one's share."""
    a, b = two_nodes
    packed(a, tree, "--name", "mine")
    assert look_at(b.path("mine/")) == look_at(tree)


def until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.001)


@contextmanager
def started(node: BlobfsNode, directory: Path) -> Iterator[subprocess.Popen[str]]:
    command = [*COMMAND, "--jobs=1", str(node.mountpoint), str(directory)]
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        try:
            yield program
        finally:
            program.kill()


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Too large to be written before somebody has looked, and in blobs that no bundle has."""
    contents = {f"f{number}": os.urandom(BUNDLED_UP_TO + 1) for number in range(200)}
    return write_tree(tmp_path / "large", contents)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_interrupted_and_gone_on_with(node: BlobfsNode, large: Path, number: signal.Signals) -> None:
    """The second run writes what the first one has not written. Ctrl-C says so and ends with 130."""
    package = package_of(large)
    missing = node.path(f".blobfs/needed/{package.id}/missing")
    with started(node, large) as program:
        until(lambda: missing.is_dir() and 0 < len(os.listdir(missing)) < 199)
        program.send_signal(number)
        out, err = program.communicate(timeout=SECONDS)
    if number == signal.SIGINT:
        told = "Error: interrupted; what was written is kept, the same command goes on from there\n"
        assert (program.returncode, out, err) == (130, "", told)
    left = len(os.listdir(missing))
    assert 0 < left < 200
    found = packed(node, large)
    assert found["id"] == package.id
    assert found["written"] == left * (BUNDLED_UP_TO + 1)
    assert path_of(node, package.id).is_dir()


def test_a_node_that_was_killed(node: BlobfsNode, large: Path) -> None:
    """The command fails in one line, and goes on with what was written when the node is there again."""
    package = package_of(large)
    missing = node.path(f".blobfs/needed/{package.id}/missing")
    with started(node, large) as program:
        until(lambda: missing.is_dir() and 0 < len(os.listdir(missing)) < 100)
        node.kill9()
        out, err = program.communicate(timeout=SECONDS)
    assert (program.returncode, out) == (1, "")
    assert err.count("\n") == 1
    assert err.endswith("what was written is kept, the same command goes on from there\n")
    node.restart()
    assert 0 < packed(node, large)["written"] < 200 * (BUNDLED_UP_TO + 1)
    assert look_at(path_of(node, package.id)) == look_at(large)


def test_many_small_files(node: BlobfsNode, tmp_path: Path) -> None:
    """A thousand of them arrive as one stream, beside a few that are large, and are not opened one by one."""
    tree = write_tree(tmp_path / "tree", many_files(1000) | {"large": bytes(BUNDLED_UP_TO + 1)})
    opened = node.operations("open")
    found = packed(node, tree)
    assert node.operations("open") - opened < 10
    assert found["written"] == found["bytes"]
    assert look_at(path_of(node, found["id"])) == look_at(tree)


def test_a_read_only_mount(start_node: StartNode, tree: Path) -> None:
    """It takes no package, and that is one line."""
    node = start_node(arguments=["--read-only"])
    done = pack(node, tree)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: the mount does not take a package: Read-only file system\n"


def test_progress_on_a_terminal(node: BlobfsNode, tree: Path) -> None:
    """Two bars, which end full; on stdout is the id alone. Without a terminal there is none, nor if one
    does not want it."""
    shown, out = on_terminal(*COMMAND, node.mountpoint, tree, env=ENVIRONMENT)
    assert out == f"{package_of(tree).id}\n"
    assert "hashing" in shown
    assert "30 of 30 files" in shown
    assert "writing" in shown
    assert shown.count("100%") >= 2
    assert on_terminal(*COMMAND, "--no-progress", node.mountpoint, tree, env=ENVIRONMENT) == ("", out)
