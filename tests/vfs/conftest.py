"""A store on real disk."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from blobfs.store.opening import Store, open_store


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> Iterator[Store]:
    opened = open_store(root)
    yield opened
    opened.close(clean=False)
