"""What tools/scale measures: its stores are such as a node makes, and its table has a row for each figure."""

from pathlib import Path

import pytest

from blobfs.model import ROOT, Name
from blobfs.record import BlobRecord
from blobfs.store import names, sealed
from blobfs.store.opening import open_store
from blobfs.store.verify.findings import Inspection
from blobfs.store.verify.names import check_names
from tools.scaling.filling import (
    NAMES_A_DIRECTORY,
    blob_of,
    content_of,
    directory_of,
    fill,
    fill_directory,
    name_of,
)
from tools.scaling.leftovers import accepted, asleep, large_directory
from tools.scaling.measuring import Figures, described

BLOBS = NAMES_A_DIRECTORY + 5


def test_a_store_that_was_filled_is_sound(tmp_path: Path) -> None:
    """As if a node had shared each of its files: verification finds nothing, and a start nothing to redo."""
    fill(tmp_path, BLOBS)
    fill_directory(tmp_path, Name("more"), range(BLOBS, BLOBS + 3))
    store = open_store(tmp_path)
    try:
        assert store.was_clean
        assert list(check_names(Inspection(store, mends=False))) == []
        assert [*names.read_directory(store, ROOT)] == ["d00000", "d00001", "more"]
        last = names.read_directory(store, directory_of(BLOBS - 1))[f"f{BLOBS - 1:08d}"]
        assert isinstance(last.record, BlobRecord)
        assert last.record.blob == blob_of(BLOBS - 1)
        assert sealed.read_blob(store, last.record.blob) == content_of(BLOBS - 1)
        assert store.layout.named(name_of(BLOBS - 1)).read_bytes() == content_of(BLOBS - 1)
        assert len(sealed.list_blobs(store)) == BLOBS + 3
    finally:
        store.close()


def test_every_figure_is_explained() -> None:
    """Each once, in words."""
    told = described()
    assert list(told) == [name for name in Figures.__dataclass_fields__ if name != "blobs"]
    assert len(set(told.values())) == len(told)


@pytest.mark.usefixtures("dropping_caches")
def test_leftovers_can_be_measured(tmp_path: Path) -> None:
    """A few of each, with real mounts: every figure is there."""
    found: dict[str, float] = {}
    for measure in (asleep, accepted, large_directory):
        place = tmp_path / measure.__name__
        place.mkdir()
        found |= measure(place, 4)
    assert len(found) == 15
    assert all(value > 0 for value in found.values())
