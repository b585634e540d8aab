"""A booted system a module: it takes a second, and the tests of a file run in order."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.booted import BootedSystem
from tests.systemd.installed import Service, install

TEST_SECONDS = 90
"""No test of a system takes longer."""


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
