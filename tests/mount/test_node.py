"""The nodes of these tests: started, ended, killed, and watched over."""

import os
from pathlib import Path

import pytest

from tests.mount.node import BlobfsNode, is_trouble, log_records


def test_two_nodes_share(two_nodes: tuple[BlobfsNode, BlobfsNode]):
    """What is written on A is read on B."""
    a, b = two_nodes
    a.path("greeting").write_text("hello")
    os.getxattr(a.path("greeting"), "user.blobfs.id")
    before = b.operations("read")
    assert b.path("greeting").read_text() == "hello"
    assert b.operations("read") == before + 1


def test_a_killed_node_is_healed_by_its_next_start(node: BlobfsNode):
    """After SIGKILL the mount is dead; a restart heals it and has what was sealed."""
    node.path("kept").write_text("kept")
    os.getxattr(node.path("kept"), "user.blobfs.id")
    node.kill9()
    with pytest.raises(OSError, match="Transport endpoint"):
        node.path("kept").read_text()
    node.restart()
    assert node.path("kept").read_text() == "kept"


def test_a_node_leaves_nothing_behind(tmp_path: Path):
    """Stopped or killed, when its block is left neither process nor mount remain."""
    with BlobfsNode(tmp_path) as stopped:
        assert stopped.is_mounted()
    assert not stopped.is_mounted()
    with BlobfsNode(tmp_path, "b") as killed:
        killed.kill9()
        assert killed.is_mounted()
    assert not killed.is_mounted()


def test_trouble_in_the_log_is_found():
    """Warnings, errors, tracebacks and anything that is no record of ours is trouble; a level's name in a
    message is not."""
    time = "2026-01-02 03:04:05,678"
    fine = [f"{time} INFO blobfs.x: no WARNING", f"{time} INFO blobfs.x: two\nlines"]
    bad = [
        f"{time} WARNING blobfs.x: look",
        f"{time} ERROR blobfs.x: look\nTraceback (most recent call last):\n  File",
        f"{time} INFO blobfs.x: odd\nTraceback (most recent call last):\n  File",
    ]
    assert log_records("\n".join(fine + bad)) == fine + bad
    assert [is_trouble(record) for record in fine + bad] == [False, False, True, True, True]
    assert is_trouble("Exception ignored in: <function f>")


def test_unannounced_trouble_fails(node: BlobfsNode):
    """Trouble must be announced, and what is announced must come."""
    node.path("x").write_text("x")
    with (node.store / "log").open("a") as log:
        log.write("2026-01-02 03:04:05,678 WARNING blobfs.x: the disk is on fire\n")
    with pytest.raises(AssertionError, match="disk is on fire"):
        node.check_log()
    node.expect_log("on fire")
    node.check_log()
    node.expect_log("flood", perhaps=True)
    node.check_log()
