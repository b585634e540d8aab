"""A booted system a module: it takes a second, and the tests of a file run in order.

`tools/systemd` sets `TELL`: then every test tells what the journal got, and the state before and after.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.booted import BootedSystem
from tests.systemd.installed import Service, install

TEST_SECONDS = 90
"""No test of a system takes longer."""

TELL = "BLOBFS_SYSTEMD_TELL"
OURS = ("blobfs*", "mnt-*", "srv-*")
"""The units that are told of."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BootedSystem]:
    """Freshly booted, with nothing of blobfs installed."""
    with BootedSystem(tmp_path_factory.mktemp("system")) as booted:
        yield booted


@pytest.fixture(scope="module")
def installed(system: BootedSystem) -> BootedSystem:
    """With blobfs installed, and nothing configured."""
    install(system)
    return system


@pytest.fixture(scope="module")
def configured(installed: BootedSystem) -> Service:
    """``blobfs@demo``, configured and not started."""
    service = Service(installed, "demo", 8970)
    service.configure()
    return service


@pytest.fixture
def demo(configured: Service) -> Service:
    """``blobfs@demo``, which runs, whatever the test before has done to it."""
    configured.system.run("systemctl", "reset-failed")
    configured.configure()
    configured.start()
    return configured


@pytest.fixture(autouse=True)
def told(request: pytest.FixtureRequest) -> Iterator[None]:
    """Prints a test as a scenario: what is promised, the state before, the journal, the state after."""
    if TELL not in os.environ:
        yield
        return
    system: BootedSystem = request.getfixturevalue("system")
    print(f"\n\n=== {request.node.name}\n{(request.function.__doc__ or '').strip()}")
    print(f"--- before\n{_state(system)}")
    cursor = system.journal("--lines=1")[-1]["__CURSOR"]
    yield
    units = [f"--unit={unit}" for unit in OURS]
    command = ("journalctl", "--quiet", "--no-hostname", "--no-pager", f"--after-cursor={cursor}", *units)
    code, journal = system.result(*command)
    print(f"--- journal\n{'' if code else journal.rstrip()}")  # 1: it knows none of these units
    print(f"--- after\n{_state(system)}")


def _state(system: BootedSystem) -> str:
    units = system.run("systemctl", "list-units", "--all", "--no-legend", "--plain", *OURS)
    mounts = "".join(f"mounted: {mount}\n" for mount in system.mounts())
    return (units + mounts).rstrip() or "nothing runs, nothing is mounted"
