"""Many names that are shared in turn at once: what stands there then is as if each had been put by itself."""

from pathlib import Path

import pytest

from blobfs.model import Name
from blobfs.record import DirRecord
from blobfs.store import names
from blobfs.store.loaded_batches import put_loaded_names
from blobfs.store.loaded_names import noted_names
from blobfs.store.opening import Store, open_store
from blobfs.store.small import SmallBlob, place_small
from blobfs.store.verify.findings import Inspection
from blobfs.store.verify.verifying import verify
from tests.store.sealing import content_of, record_of

HERE = Name("dir")
RAWS = [b"%d" % number * 300 for number in range(20)]


def load(store: Store) -> None:
    """The blobs are here, the directory is, and nothing has a name."""
    names.make_directory(store, HERE, DirRecord(500, 500, loaded=True), loaded=True)
    place_small(store, [SmallBlob(content_of(raw).blob, raw, b"") for raw in RAWS])


def entries(store: Store) -> dict[str, names.LocalName]:
    return names.read_directory(store, HERE)


def test_as_one_by_one(store: Store, tmp_path: Path) -> None:
    """Records, marks, links and log are the same; verification finds nothing."""
    load(store)
    records = {Name(f"dir/{number}"): record_of(raw, 1_000) for number, raw in enumerate(RAWS)}
    assert put_loaded_names(store, HERE, records) == list(records)
    other = open_store(tmp_path / "other")
    try:
        load(other)
        for name, record in records.items():
            names.put_blob_name(other, name, record, loaded=True)
        assert entries(store) == entries(other)
        assert names.read_records(store, HERE) == names.read_records(other, HERE) == entries(other)
        for name, record in records.items():
            blob = store.layout.blob(record.blob)
            assert store.layout.named(name).samefile(blob)
            assert noted_names(blob) == noted_names(other.layout.blob(record.blob)) == [name]
            found = [each.layout.record(name).read_bytes() for each in (store, other)]
            assert found[0] == found[1]
    finally:
        other.close()
    assert list(verify(Inspection(store, mends=False))) == []


def test_a_blob_that_is_not_here(store: Store) -> None:
    """It gets no name; the others do."""
    load(store)
    missing = record_of(b"another one", 1_000)
    records = {Name("dir/a"): record_of(RAWS[0], 1_000), Name("dir/b"): missing}
    assert put_loaded_names(store, HERE, records) == ["dir/a"]
    assert list(entries(store)) == ["a"]
    assert put_loaded_names(store, HERE, {Name("dir/b"): missing}) == []


@pytest.mark.parametrize("raw", RAWS[:2])
def test_one_blob_of_many_names(store: Store, raw: bytes) -> None:
    """Each is a link to it, also where a file stands in its way that no record speaks of."""
    load(store)
    record = record_of(raw, 1_000)
    store.layout.named(Name("dir/b")).write_bytes(b"a stray file")
    put_loaded_names(store, HERE, {Name("dir/a"): record, Name("dir/b"): record})
    blob = store.layout.blob(record.blob)
    assert sorted(noted_names(blob)) == ["dir/a", "dir/b"]
    assert all(store.layout.named(Name(name)).samefile(blob) for name in ("dir/a", "dir/b"))
