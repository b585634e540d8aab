"""Operations whose failure once cost something, each alone: what came of it is to stay as it is now."""

from pathlib import Path

import pytest

from tests.disk_faults.campaign import fast_directory
from tests.disk_faults.plan import Fault, Operation, Plan
from tests.disk_faults.run import Run
from tests.disk_faults.scenarios import SCENARIOS


def _wrong(scenario: str, fault: Fault, call: str, path: str) -> list[str]:
    """Of all runs in which such an operation fails, once and for good."""
    with fast_directory() as directory:
        made = Run(directory, SCENARIOS[scenario], None).run().made
        return [
            f"{plan}, again={again}: {wrong}"
            for plan in _plans(made, fault, call, path)
            for again in (True, False)
            for wrong in Run(directory, SCENARIOS[scenario], plan, again=again).run().wrong
        ]


def _plans(made: list[Operation], fault: Fault, call: str, path: str) -> list[Plan]:
    concerned = [operation for operation in made if fault.concerns(operation)]
    found = [
        Plan(fault, at, lasting)
        for at, operation in enumerate(concerned, 1)
        if operation.call == call and Path(operation.path).match(path)
        for lasting in (False, True)
    ]
    assert found, f"no {call} {path} in {sorted(set(map(str, concerned)))}"
    return found


@pytest.mark.parametrize(
    ("scenario", "call", "path"),
    [
        pytest.param("share", "mkdir", "incoming/temp-*", id="a blob without the directory of its name"),
        pytest.param("share", "rename", "share/.blobfs/names/d", id="a blob whose directory is not shown"),
        pytest.param("share", "link", "share/.blobfs/blobs/*", id="a tree without its blob"),
    ],
)
def test_what_could_not_be_shared_leaves_nothing(scenario: str, call: str, path: str) -> None:
    """Who was told that a share failed leaves neither a blob nor a tree that nobody knows of."""
    assert _wrong(scenario, Fault.ENOSPC, call, path) == []


@pytest.mark.parametrize(
    ("call", "path"),
    [
        pytest.param("rename", "share/.blobfs/names/old", id="the record of what is replaced"),
        pytest.param("rename", "share/old", id="the link of what is replaced"),
        pytest.param("rename", "share/.blobfs/names/victim", id="the record of what is removed"),
        pytest.param("unlink", "share/victim", id="the link of what is removed"),
    ],
)
def test_a_change_that_is_refused_loses_nothing(call: str, path: str) -> None:
    """P2: a name that could not be replaced or removed keeps what it meant, whatever is flushed after."""
    assert _wrong("names", Fault.ENOSPC, call, path) == []


@pytest.mark.parametrize(
    ("call", "path"),
    [
        pytest.param("write", "share/.blobfs/names/.blobfs-log", id="the line of the log"),
        pytest.param("rename", "share/.blobfs/names/dir", id="a directory, and its tombstone"),
    ],
)
def test_a_change_that_breaks_off_is_brought_in_line(call: str, path: str) -> None:
    """Records, links, logs and what the node has in memory say the same as soon as the disk works again,
    without a restart and without anybody changing the name again."""
    assert _wrong("names", Fault.EDQUOT, call, path) == []


def test_a_read_that_fails_once_costs_no_blob() -> None:
    """P2: a blob of one leaf that nobody else has is not given up for a disk that could not read it."""
    assert _wrong("share", Fault.EIO, "pread", "share/.blobfs/blobs/*") == []


def test_a_file_that_cannot_be_hashed() -> None:
    """EIO, as any other read, also where a hash worker was to have it; nothing unexpected."""
    assert _wrong("share", Fault.EIO, "preadv", "incoming/*") == []


def test_a_load_that_the_disk_did_not_take_is_begun_anew() -> None:
    """Who wants it kept gets the disk's own errno, and it is kept when he asks again and the disk works."""
    assert _wrong("load", Fault.EROFS, "ftruncate", "partial/*") == []


def test_what_was_removed_goes_when_the_disk_lets_it() -> None:
    """A blob that lost its name before it was durable: what the disk did not let go of goes later."""
    assert _wrong("names", Fault.EROFS, "unlink", "share/.blobfs/blobs/*") == []
