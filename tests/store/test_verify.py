"""Verification of a store at rest: what is found, what mends it, and that looking changes nothing."""

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from blobfs import errors
from blobfs.bundle import bundle_members
from blobfs.manifest import File, parse_manifest, render_manifest
from blobfs.model import CHUNK_SIZE, BlobId, Name
from blobfs.record import DirRecord, GoneRecord, SymlinkRecord
from blobfs.store import names, packages
from blobfs.store.bundles import write_bundle
from blobfs.store.opening import Store, open_store, open_unchanged
from blobfs.store.partial import open_partial
from blobfs.store.verify import blobs as verify_blobs
from blobfs.store.verify import content as verify_content
from blobfs.store.verify import partials as verify_partials
from blobfs.store.verify.findings import Done, Finding, Inspection, Kind
from blobfs.store.verify.verifying import measure, verify
from tests.store.sealing import content_of, put_blob, put_name, record_of

STRETCH = CHUNK_SIZE
"""Hashed at a time here: no hash worker has to be started for so little."""
SIZES = {"leaf": 5_000, "small": 200_001, "large": 3 * STRETCH + 70_001}
BLOBS = {name: random.Random(name).randbytes(size) for name, size in SIZES.items()}
PARTIAL = random.Random("partial").randbytes(5 * CHUNK_SIZE + 1)
HERE = (0, 1, 4)
"""Chunks of the partial blob."""


def blob_of(name: str) -> BlobId:
    return content_of(BLOBS[name]).blob


PARTIAL_KEY = content_of(PARTIAL).blob


def put_partial(store: Store) -> None:
    partial = open_partial(store, PARTIAL_KEY, len(PARTIAL))
    partial.write_tree(0, content_of(PARTIAL).tree)
    for chunk in HERE:
        partial.write_chunks(chunk, PARTIAL[chunk * CHUNK_SIZE : (chunk + 1) * CHUNK_SIZE])
        partial.mark(chunk, 1)
    partial.add_name(Name("coming"), record_of(PARTIAL), "http://a/")
    partial.save_map()
    partial.close()


def put_package(store: Store) -> BlobId:
    small = [bytes([number]) * (number + 1) for number in range(9)]
    entries = [
        File(b"%d" % number, 0o444, len(raw), 0, put_blob(store, raw)) for number, raw in enumerate(small)
    ]
    package = put_blob(store, render_manifest(entries))
    packages.open_transaction(store, package)
    packages.hold_present(store, package, [package, *(entry.blob for entry in entries)])
    packages.complete_transaction(store, package)
    manifest = parse_manifest(store.layout.blob(package).read_bytes())
    write_bundle(store, package, bundle_members(manifest))
    return package


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that holds of everything one, at rest."""
    store = open_store(tmp_path_factory.mktemp("template") / "store")
    names.make_directory(store, Name("dir"), DirRecord(1, 2))
    for name, raw in BLOBS.items():
        put_name(store, f"dir/{name}" if name == "small" else name, raw)
    names.put_symlink(store, Name("link"), SymlinkRecord("leaf", 1, 2))
    put_name(store, "removed", b"removed")
    names.put_gone(store, Name("removed"), GoneRecord(5_000))
    put_partial(store)
    put_package(store)
    store.close()
    return store.layout.root


@pytest.fixture
def root(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, with links, holes and attributes."""
    for module in (verify_blobs, verify_content, verify_partials):
        monkeypatch.setattr(module, "STRETCH", STRETCH)
    subprocess.run(["cp", "-a", "--", template, tmp_path / "store"], check=True, timeout=30)
    return tmp_path / "store"


@pytest.fixture
def looking(root: Path) -> Callable[[], list[Finding]]:
    """Verifies it without changing anything."""

    def look() -> list[Finding]:
        store = open_unchanged(root)
        try:
            return list(verify(Inspection(store, mends=False, after_crash=not store.was_clean)))
        finally:
            store.close(clean=False)

    return look


def mend(root: Path) -> list[Finding]:
    store = open_store(root)
    try:
        return list(verify(Inspection(store, mends=True, after_crash=not store.was_clean)))
    finally:
        store.close(clean=True)


def flip(path: Path, offset: int = 0, bit: int = 3) -> None:
    """As rot does it: nobody is told, no time changes, and the file's mode does not matter."""
    found = path.stat()
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(offset % found.st_size)
        byte = file.read(1)[0]
        file.seek(offset % found.st_size)
        file.write(bytes([byte ^ 1 << bit]))
    path.chmod(found.st_mode & 0o777)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def snapshot(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything that could change about every file."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted([root, *root.rglob("*")]):
        content = path.read_bytes() if path.is_file() else b""
        seen = path.lstat()
        marks = {
            key: os.getxattr(path, key, follow_symlinks=False)
            for key in os.listxattr(path, follow_symlinks=False)
        }
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (
            seen.st_ino, seen.st_mode, seen.st_nlink, seen.st_atime_ns if path.parent.name == "blobs" else 0,
            seen.st_mtime_ns, seen.st_ctime_ns, marks, content,
        )  # fmt: skip
    return found


def test_sound_store_is_sound(root: Path, looking: Callable[[], list[Finding]]) -> None:
    """There is nothing to find, and nothing to mend."""
    assert looking() == []
    assert mend(root) == []
    assert looking() == []


def layout_paths(root: Path) -> dict[str, tuple[Path, int, Kind]]:
    """One place for each kind of damage: the file, where in it, and what is found."""
    reserved, partial = root / "share/.blobfs", root / "partial" / PARTIAL_KEY
    bundle = next((reserved / "bundles").iterdir())
    return {
        "leaf": (reserved / "blobs" / blob_of("leaf"), -1, Kind.BLOB),
        "chunk": (reserved / "blobs" / blob_of("small"), 150_000, Kind.BLOB),
        "stretch": (reserved / "blobs" / blob_of("large"), STRETCH + 1, Kind.BLOB),
        "last byte": (reserved / "blobs" / blob_of("large"), -1, Kind.BLOB),
        "tree": (reserved / "trees" / blob_of("small"), 40, Kind.TREE),
        "top of a tree": (reserved / "trees" / blob_of("large"), 0, Kind.TREE),
        "bundle": (bundle, 7, Kind.BUNDLE),
        "record": (reserved / "names/leaf", 20, Kind.RECORD),
        "time in a record": (reserved / "names/leaf", -5, Kind.RECORD),
        "tombstone": (reserved / "names/removed", 30, Kind.RECORD),
        "log": (reserved / "names/.blobfs-log", 300, Kind.LOG),
        "first line of a log": (reserved / "names/dir/.blobfs-log", 3, Kind.LOG),
        "generation of a log": (reserved / "names/dir/.blobfs-log", 30, Kind.LOG),
        "map": (partial.with_name(f"{PARTIAL_KEY}.map"), 3, Kind.MAP),
        "size in a map": (partial.with_name(f"{PARTIAL_KEY}.map"), 12, Kind.MAP),
        "partial chunk": (partial, 4 * CHUNK_SIZE + 9, Kind.CHUNK),
        "partial tree": (partial.with_name(f"{PARTIAL_KEY}.tree"), 33, Kind.TREE),
        "waiting names": (partial.with_name(f"{PARTIAL_KEY}.names"), 33, Kind.WAITING),
    }


@pytest.mark.parametrize("place", [
    "leaf", "chunk", "stretch", "last byte", "tree", "top of a tree", "bundle", "record", "time in a record",
    "tombstone", "log", "first line of a log", "generation of a log", "map", "size in a map", "partial chunk",
    "partial tree", "waiting names",
])  # fmt: skip
def test_flipped_bit_is_found_and_mended(
    root: Path, looking: Callable[[], list[Finding]], place: str
) -> None:
    """One finding tells of it; after the repair there is none, and what could be mended is as it was."""
    path, offset, kind = layout_paths(root)[place]
    before = path.read_bytes()
    flip(path, offset)
    (found,) = looking()
    assert (found.kind, found.done, found.is_left) == (kind, Done.NOTHING, True)
    (mended,) = mend(root)
    assert (mended.kind, mended.path, mended.what) == (found.kind, found.path, found.what)
    assert mended.is_left == (kind is Kind.BLOB)
    assert looking() == []
    if kind in (Kind.TREE, Kind.BUNDLE, Kind.RECORD) and "partial" not in place:
        assert path.read_bytes() == before
    if kind is Kind.BLOB:
        assert not path.exists()
        shared = {path.name for path in (root / "share").rglob("*") if ".blobfs" not in path.parts}
        assert len(shared & set(BLOBS)) == 2


def test_looking_changes_nothing(root: Path, looking: Callable[[], list[Finding]]) -> None:
    """Whatever is wrong: no byte, no mark, no last use of a blob and no name changes, not even by opening."""
    for path, offset, _ in layout_paths(root).values():
        flip(path, offset)
    (root / "share/stray").write_bytes(b"stray")
    (root / "incoming/temp-left").write_bytes(b"left")
    before = snapshot(root)
    assert looking()
    assert snapshot(root) == before


def test_store_in_use_is_refused(root: Path) -> None:
    """Whoever has it open is named; a store that is not there is none."""
    store = open_store(root)
    with pytest.raises(errors.StoreRefused, match=rf"in use by process {os.getpid()}"):
        open_unchanged(root)
    store.close()
    with pytest.raises(errors.StoreRefused, match="cannot open"):
        open_unchanged(root / "nowhere")
    assert not (root / "nowhere").exists()


Damage = Callable[[Path], object]


def lose(path: str) -> Damage:
    return lambda root: (root / path).unlink()


def put(path: str) -> Damage:
    return lambda root: (root / path).write_bytes(b"not ours")


def cut(path: str) -> Damage:
    return lambda root: os.truncate(root / path, 100)


NAMES = "share/.blobfs/names"


@pytest.mark.parametrize(("damage", "kind", "done"), [
    (lose(f"share/.blobfs/trees/{blob_of('small')}"), Kind.TREE, Done.REBUILT),
    (put(f"share/.blobfs/trees/{blob_of('leaf')}"), Kind.STRAY, Done.REMOVED),
    (put("share/.blobfs/blobs/somebody's"), Kind.STRAY, Done.QUARANTINED),
    (put(f"share/.blobfs/bundles/{'0' * 64}"), None, Done.NOTHING),
    (lose(f"{NAMES}/leaf"), Kind.RECORD, Done.RESTORED),
    (lose(f"{NAMES}/dir/.blobfs-log"), Kind.LOG, Done.REBUILT),
    (cut(f"{NAMES}/.blobfs-log"), Kind.LOG, Done.REBUILT),
    (lose("share/leaf"), Kind.LINK, Done.REBUILT),
    (put("share/stray"), Kind.STRAY, Done.QUARANTINED),
    (lose(f"share/.blobfs/blobs/{blob_of('large')}"), Kind.BLOB, Done.RESTORED),
    (cut(f"partial/{PARTIAL_KEY}.map"), Kind.MAP, Done.REBUILT),
    (lose(f"partial/{PARTIAL_KEY}.map"), None, Done.NOTHING),
])  # fmt: skip
def test_what_is_missing_or_too_much(
    root: Path,
    looking: Callable[[], list[Finding]],
    damage: Damage,
    kind: Kind | None,
    done: Done,
) -> None:
    """It is told once, and mended from what vouches for it; what harms nobody is not told."""
    damage(root)
    found = mend(root)
    if [each.kind for each in found] == [Kind.STRAY, Kind.BLOB]:
        found = found[1:]  # the tree of a blob that is lost goes, and comes back with it
    assert [(each.kind, each.done) for each in found] == ([] if kind is None else [(kind, done)])
    assert looking() == []


def test_record_of_which_only_the_file_is_left(root: Path, looking: Callable[[], list[Finding]]) -> None:
    """Without record and log a file that is a blob of ours gets its record again, as old as it is."""
    (root / NAMES / "leaf").unlink()
    (root / NAMES / ".blobfs-log").unlink()
    found = mend(root)
    assert {(each.kind, each.done) for each in found} == {
        (Kind.RECORD, Done.REBUILT),
        (Kind.LOG, Done.REBUILT),
    }
    store = open_store(root)
    entry = names.read_record(store, Name("leaf"))
    store.close()
    assert entry == names.LocalName(record_of(BLOBS["leaf"], published_ns=500), loaded=False)
    assert looking() == []


@pytest.mark.parametrize("name", ["leaf", "link", "removed"])
def test_record_that_a_damaged_log_tells_of(
    root: Path, looking: Callable[[], list[Finding]], name: str
) -> None:
    """Its line in the log is taken if it is what the record's check mark speaks of."""
    record = root / NAMES / name
    before = record.read_bytes()
    flip(record, 30)
    flip(record, 40)
    flip(root / NAMES / ".blobfs-log", 30)
    assert {(each.kind, each.done) for each in mend(root)} == {
        (Kind.RECORD, Done.RESTORED),
        (Kind.LOG, Done.REBUILT),
    }
    assert record.read_bytes() == before
    assert looking() == []


@pytest.mark.parametrize("name", ["leaf", "link", "removed"])
def test_record_with_one_flipped_bit(root: Path, looking: Callable[[], list[Finding]], name: str) -> None:
    """Its check mark tells which bit it was, whatever has become of the log."""
    record = root / NAMES / name
    before = record.read_bytes()
    flip(record, 30)
    (root / NAMES / ".blobfs-log").write_bytes(b"")
    assert (Kind.RECORD, Done.RESTORED) in {(each.kind, each.done) for each in mend(root)}
    assert record.read_bytes() == before
    assert looking() == []


def test_after_a_crash_such_a_file_goes(root: Path) -> None:
    """Its name was being published, and was promised to nobody: it goes, the blob stays."""
    (root / "clean").unlink()
    os.link(root / "share/leaf", root / "share/half-done")
    found = mend(root)
    assert [(each.kind, each.path, each.done) for each in found] == [
        (Kind.STRAY, "share/half-done", Done.REMOVED)
    ]


def test_holds_of_a_package(root: Path, looking: Callable[[], list[Finding]]) -> None:
    """A hold that is lost is made anew; one that is another file becomes the blob; a lost blob is brought
    back from its hold."""
    (package,) = (root / "packages").iterdir()
    lost, other, only = sorted(link for link in package.iterdir() if link.name != package.name)[:3]
    lost.unlink()
    content = other.read_bytes()
    other.unlink()
    other.write_bytes(content)
    (root / "share/.blobfs/blobs" / only.name).unlink()
    found = mend(root)
    assert sorted((each.kind, each.done) for each in found) == [
        (Kind.BLOB, Done.RESTORED),
        (Kind.HOLD, Done.REBUILT),
        (Kind.HOLD, Done.REBUILT),
    ]
    assert looking() == []
    for link in (lost, other, only):
        assert os.path.samefile(link, root / "share/.blobfs/blobs" / link.name)


def test_package_that_lacks_a_blob(root: Path) -> None:
    """It cannot be mended from here; the finding says what to load."""
    (package,) = (root / "packages").iterdir()
    blob = BlobId(min(link.name for link in package.iterdir() if link.name != package.name))
    (package / blob).unlink()
    (root / "share/.blobfs/blobs" / blob).unlink()
    (found,) = [each for each in mend(root) if each.kind is Kind.PACKAGE]
    assert (found.blob, found.done, found.is_left) == (blob, Done.NOTHING, True)


def test_lost_directory_of_records(root: Path, looking: Callable[[], list[Finding]]) -> None:
    """Names whose directory of records is gone come back from the share."""
    (root / NAMES / "dir/small").unlink()
    (root / NAMES / "dir/.blobfs-log").unlink()
    (root / NAMES / "dir").rmdir()
    (root / NAMES / ".blobfs-log").unlink()
    mend(root)
    store = open_store(root)
    found = names.read_record(store, Name("dir/small"))
    store.close()
    assert found == names.LocalName(record_of(BLOBS["small"], published_ns=500), loaded=False)
    assert looking() == []


def test_progress_is_told(root: Path) -> None:
    """In bytes of a total that is known before."""
    store = open_unchanged(root)
    inspection = Inspection(store, mends=False)
    total = measure(inspection)
    assert list(verify(inspection)) == []
    store.close(clean=False)
    assert total >= sum(SIZES.values()) + len(HERE) * CHUNK_SIZE
    assert abs(total - inspection.progress.bytes_done) < 2 * CHUNK_SIZE
    assert inspection.progress.counts["blobs"] == 14
    assert inspection.progress.counts["packages"] == 1


def test_many_flips(root: Path, looking: Callable[[], list[Finding]]) -> None:
    """Whatever is flipped, in however many files at once: after a repair nothing is wrong with the rest."""
    chance = random.Random(5)
    files = sorted(path for path in root.rglob("*") if path.is_file() and path.parent != root)
    for path in chance.choices(files, k=40):
        if size := path.stat().st_size:
            flip(path, chance.randrange(size), chance.randrange(8))
    mend(root)
    lost = {found.path for found in looking()}
    assert lost <= {f"packages/{package.name}" for package in (root / "packages").iterdir()}
