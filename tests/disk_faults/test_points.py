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
