"""The smallest sequences in which a mount once did something else than the model (`tools/model`)."""

import os
from pathlib import Path

from tests.mount.conftest import StartNode


def test_a_directory_keeps_its_time_when_it_is_renamed(place: Path) -> None:
    """[S32] What was set stays: of the directory itself, and of those in it."""
    (place / "old/in").mkdir(parents=True)
    for path in (place / "old/in", place / "old"):
        os.utime(path, ns=(321, 321))
    (place / "old").rename(place / "new")
    assert [path.stat().st_mtime_ns for path in (place / "new", place / "new/in")] == [321, 321]


def test_a_directory_that_moved_is_no_trouble_after_a_crash(start_node: StartNode) -> None:
    """[S10] What was closed in a directory that was then renamed is restored there; nobody is alarmed."""
    node = start_node()
    node.path("old").mkdir()
    node.path("old/f").write_bytes(b"content")
    node.path("old").rename(node.path("new"))
    node.kill9()
    node.start()
    assert node.path("new/f").read_bytes() == b"content"
    assert not node.path("old").exists()
