"""A booted system a module: it takes a second, and the tests of a file run in order."""

from collections.abc import Iterator

import pytest

from tests.systemd.booted import BootedSystem


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BootedSystem]:
    """Freshly booted, with nothing of blobfs installed."""
    with BootedSystem(tmp_path_factory.mktemp("system")) as booted:
        yield booted
