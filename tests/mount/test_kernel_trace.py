"""The counting of FUSE requests is right itself, by both ways: other tests lean on it."""

import os
from pathlib import Path

import pytest

from tests.mount import kernel_trace
from tests.mount.kernel_trace import NoTrace, fuse_requests
from tests.mount.programs import sync_directory


@pytest.fixture(params=["kernel", "adapter"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which of the two is asked. Where the kernel cannot tell, the adapter is asked twice."""
    if request.param == "adapter":
        monkeypatch.setattr(kernel_trace, "is_traceable", lambda: False)
    return str(request.param)


def test_requests_are_counted_by_opcode(place: Path, way: str):
    """Three directories made and one looked up in vain; nothing else that waits."""
    mountpoint = place.parent
    with fuse_requests(mountpoint) as seen:
        for number in range(3):
            os.mkdir(place / str(number))
        assert not (place / "none").exists()
    assert seen["MKDIR"] == 3
    assert seen["UNLINK"] == 0
    assert seen.waited_for() >= 7  # each new name is looked up first


def test_what_was_asked_before_and_after_is_not_counted(place: Path, way: str):
    """Only what happens inside of the `with`."""
    os.mkdir(place / "before")
    with fuse_requests(place.parent) as seen:
        pass
    os.mkdir(place / "after")
    assert seen["MKDIR"] == 0


def test_nobody_waits_for_a_release(place: Path, way: str):
    """It is counted, but not among the round trips that stand in somebody's way."""
    (place / "f").write_bytes(b"content")
    sync_directory(place)
    with fuse_requests(place.parent) as seen:
        (place / "f").read_bytes()
    assert seen["RELEASE"] == 1
    assert seen.waited_for() == seen.total() - 1


def test_where_nobody_tells_it_fails(tmp_path: Path, way: str):
    """A count that cannot be had is an error, never a nought."""
    with pytest.raises(NoTrace), fuse_requests(tmp_path):
        pass


def test_what_prepares_is_forgotten(place: Path, way: str):
    """Inside of the `with`, what came before can be left out."""
    with fuse_requests(place.parent) as seen:
        os.mkdir(place / "before")
        seen.forget()
        os.mkdir(place / "after")
    assert seen["MKDIR"] == 1
