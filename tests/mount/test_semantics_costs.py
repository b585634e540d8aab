"""docs/semantics.md, "Cost". Counted, never timed."""

import os
from pathlib import Path

import pytest

from tests.mount.node import BlobfsNode
from tests.mount.probes import attribute
from tests.mount.programs import run, sync_directory

pytestmark = pytest.mark.usefixtures("steady_caches")

MIB = 1 << 20


def test_small_files(node: BlobfsNode):
    """[S66] A thousand small files, sealed and durable, cost fewer than a hundred flushes."""
    before = node.flushes()
    node.path("many").mkdir()
    for number in range(1000):
        node.path(f"many/{number}").write_text(f"content {number}")
    sync_directory(node.path("many"))
    assert node.flushes() - before < 100
    assert len(list((node.share / "many").iterdir())) == 1000
    assert (node.share / "many/999").read_text() == "content 999"


def test_writing_a_small_file(node: BlobfsNode):
    """[S66] LOOKUP, CREATE, WRITE, FLUSH and one question for a capability: what is asked for each of 100
    files that a program makes, looks at, writes and closes."""
    kinds = ("lookup", "create", "getattr", "getxattr", "write", "flush", "setattr")
    node.path("d").mkdir()
    before = {kind: node.operations(kind) for kind in kinds}
    for number in range(100):
        with node.path(f"d/{number}").open("xb", buffering=0) as file:  # which looks at it, as cp does
            file.write(b"content")
    asked = {kind: node.operations(kind) - before[kind] for kind in kinds}
    assert asked["getattr"] < 20
    assert sum(asked.values()) < 530


def test_size_of_buffers(node: BlobfsNode, tmp_path: Path):
    """[S130] 1 MiB while it is written, 128 KiB after that; `cp` writes 4 MiB in 4 WRITEs."""
    (tmp_path / "content").write_bytes(os.urandom(4 * MIB))
    before = node.operations("write")
    run("cp", tmp_path / "content", node.path("f"))
    assert node.operations("write") - before == 4
    attribute(node.path("f"), "id")
    assert node.path("f").stat().st_blksize == 128 * 1024
    with node.path("g").open("xb") as file:
        assert os.fstat(file.fileno()).st_blksize == MIB


def test_page_cache(two_nodes: tuple[BlobfsNode, BlobfsNode]):
    """[S67] The second read causes no READ, where the file was written and where it was loaded."""
    a, b = two_nodes
    a.path("f").write_bytes(os.urandom(3_000_000))
    attribute(a.path("f"), "id")
    for node in (a, b):
        node.path("f").read_bytes()
        assert attribute(node.path("f"), "state") in ("sealed", "whole")
        before = node.operations("read")
        for _ in range(3):
            node.path("f").read_bytes()
        assert node.operations("read") == before


def test_stat_after_readdir(node: BlobfsNode):
    """[S68] `ls -l` and `find` over 300 files that the kernel has never seen: no request for any of them."""
    node.path("d").mkdir()
    for number in range(300):
        node.path(f"d/{number}").write_text("x")
    sync_directory(node.path("d"))
    kinds = ("lookup", "getattr", "getxattr", "listxattr", "open")
    for command in (("ls", "-l"), ("find", "-size", "+1k"), ("ls", "-l")):
        node.restart()
        run(*command, cwd=node.path("d"))
        assert sum(node.operations(kind) for kind in kinds) < 10
