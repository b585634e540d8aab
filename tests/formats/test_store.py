"""The store as docs/formats.md has it: what blobfs writes, and what it makes of a store others wrote to."""

import os
from pathlib import Path

from blobfs import model, record
from blobfs.store import packages, recovery
from blobfs.store.incoming import Incoming
from blobfs.store.names import read_record
from blobfs.store.opening import open_store
from blobfs.store.partial import list_partials, open_partial
from blobfs.store.waiting import list_waiting
from tests.formats import page, values
from tests.formats.page import LARGE, SMALL
from tests.store.sealing import put_blob


def test_map_example(tmp_path: Path) -> None:
    """blobfs writes the example's bytes for what the page says, and reads them back."""
    raw = page.example_hex("map")
    assert values.chunks_in_map(raw) == (700_000, {0, 1, 5})
    store = open_store(tmp_path / "store")
    partial = open_partial(store, "00" * 32, 700_000)
    partial.mark(0, 2)
    partial.mark(5, 1)
    partial.save_map()
    partial.close()
    assert store.layout.partial_map("00" * 32).read_bytes() == raw
    store.close()


def test_new_store(tmp_path: Path) -> None:
    """The files of a store that was made, and the marker of its clean end."""
    root = tmp_path / "store"
    store = open_store(root)
    assert (root / "format").read_bytes() == b"blobfs store 1\n"
    assert (root / "lock").read_bytes() == f"{os.getpid():<20}\n".encode()
    assert not (root / "clean").exists()
    assert sorted(path.name for path in root.iterdir()) == sorted(
        {row[0].split("/")[0] for row in page.table("### 10.1 Files")} - {"clean"}
    )
    log = (root / "share/.blobfs/names/.blobfs-log").read_bytes()
    assert len(values.parse_header(log)) == 32
    store.close()
    assert (root / "clean").read_bytes() == b""


def test_redo_marks_are_as_the_page_says(tmp_path: Path) -> None:
    """What blobfs puts on a sealed file."""
    store = open_store(tmp_path / "store")
    incoming = Incoming.create(store)
    incoming.write(0, SMALL)
    content = incoming.finish()
    intent = record.BlobRecord(content.blob, content.size, 0o555, 1_000, 0)
    incoming.set_intent(model.parse_name("dir/a"), intent)
    assert os.getxattr(incoming.path, "user.blobfs.name") == b"dir/a"
    mark = values.parse_record(os.getxattr(incoming.path, "user.blobfs.record"))
    assert (mark["blob"], mark["mode"]) == (values.tree_of(SMALL)[0], "0555")
    assert mark["published"] == "1970-01-01T00:00:00.000000000Z"
    incoming.close_fd()
    store.close()


def test_redo_marks_of_another_implementation(tmp_path: Path) -> None:
    """A file that was sealed by the page's rules is published by blobfs at its next start; others go."""
    root = tmp_path / "store"
    open_store(root).close()
    sealed, begun = root / "incoming" / ("a" * 32), root / "incoming" / ("b" * 32)
    begun.write_bytes(SMALL)
    sealed.write_bytes(SMALL)
    mark = page.example("record").replace(b"2026-01-02T03:04:05.000000006Z", b"1970-01-01T00:00:00Z")
    os.setxattr(sealed, "user.blobfs.record", mark.rstrip(b"\n"))
    os.setxattr(sealed, "user.blobfs.name", b"dir/hello.txt")
    store = open_store(root)
    (intent,) = recovery.find_intents(store)
    assert not begun.exists()
    assert recovery.redo(store, intent)
    recovery.forget_intents(store, [intent])
    assert (root / "share/dir/hello.txt").read_bytes() == SMALL
    found = values.parse_record((root / "share/.blobfs/names/dir/hello.txt").read_bytes())
    assert values.ns_of(found["published"]) > values.ns_of(found["mtime"])
    assert list((root / "incoming").iterdir()) == []
    store.close()


def hex_of(raw: bytes) -> str:
    return values.tree_of(raw)[0]


def test_transactions_are_as_the_page_says(tmp_path: Path) -> None:
    """What blobfs makes of one that is opened, filled and completed."""
    store = open_store(tmp_path / "store")
    package, here, written = (put_blob(store, raw) for raw in (b"package", SMALL, LARGE))
    packages.open_transaction(store, package)
    packages.hold_present(store, package, [package, here])
    packages.hold_written(store, package, written)
    directory = tmp_path / "store/needed" / package
    links = {path.name: path for path in directory.iterdir()}
    assert links.keys() == {package, here, f"{written}.written"}
    assert all(path.samefile(store.layout.blobs / name[:64]) for name, path in links.items())
    packages.complete_transaction(store, package)
    assert not directory.exists()
    assert {path.name for path in (tmp_path / "store/packages" / package).iterdir()} == links.keys()
    store.close()


def test_transactions_of_another_implementation(tmp_path: Path) -> None:
    """One that was opened or aborted by the page's rules goes on, and so does what was sealed for one."""
    root = tmp_path / "store"
    open_store(root).close()
    package, here, written = (hex_of(raw) for raw in (b"package", SMALL, b"written"))
    blobs, needed = root / "share/.blobfs/blobs", root / "needed" / package
    needed.mkdir()
    aborted = root / "incoming" / f"temp-aborted-{'c' * 32}"
    aborted.mkdir()
    (blobs / here).write_bytes(SMALL)
    (blobs / written).write_bytes(b"written")
    os.link(blobs / here, aborted / here)
    os.link(blobs / written, aborted / f"{written}.written")
    sealed = root / "incoming" / ("a" * 32)
    sealed.write_bytes(SMALL)
    os.setxattr(sealed, "user.blobfs.record", page.example("record").rstrip(b"\n"))
    os.setxattr(sealed, "user.blobfs.package", package.encode())
    store = open_store(root)
    assert [each for each, _ in packages.list_transactions(store)] == [package]
    assert [path.name for path in blobs.iterdir()] == [here]
    (intent,) = recovery.find_intents(store)
    assert recovery.redo(store, intent)
    recovery.forget_intents(store, [intent])
    assert [path.name for path in needed.iterdir()] == [f"{here}.written"]
    store.close()


def test_partial_blob_of_another_implementation(tmp_path: Path) -> None:
    """A load that was begun by the page's rules is resumed, and its names are known."""
    root = tmp_path / "store"
    open_store(root).close()
    blob, tree = values.tree_of(LARGE[:700_000])
    partial = root / "partial" / blob
    partial.write_bytes(LARGE[:700_000])
    (root / "partial" / f"{blob}.map").write_bytes(page.example_hex("map"))
    (root / "partial" / f"{blob}.tree").write_bytes(tree)
    line = '{"name":"a","record":' + page.example("record").decode().strip() + ',"share":""}\n'
    (root / "partial" / f"{blob}.names").write_text("no JSON\n" + line)
    store = open_store(root)
    assert list_partials(store) == [(blob, 700_000)]
    resumed = open_partial(store, blob, 700_000)
    assert resumed.claimed(0, 6) == [(0, 2), (5, 1)]
    assert [(each.name, each.record.size) for each in resumed.names()] == [("a", 13)]
    resumed.close()
    partial.unlink()
    assert list_partials(store) == []
    assert [key for key, _ in list_waiting(store)] == [blob]
    store.close()


def test_directory_of_records_without_its_mark(tmp_path: Path) -> None:
    """A directory in the store that lost its line counts with its times."""
    store = open_store(tmp_path / "store")
    directory = store.layout.names / "d"
    directory.mkdir()
    os.utime(directory, ns=(5, 5))
    found = read_record(store, model.parse_name("d"))
    assert found is not None
    assert found.record == record.DirRecord(5, 5)
    store.close()
