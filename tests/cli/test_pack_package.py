"""One tree, one package."""

import os
import random
import time
from pathlib import Path

import pytest

from blobfs.cli.pack_hash import hash_files
from blobfs.cli.pack_progress import Progress
from blobfs.cli.pack_scan import scan_tree
from blobfs.cli.pack_source import CHANGED, Source, SourceFailed
from tests.cli.pack_trees import NOWHERE, blob_id, many_files, package_of, read, scan, write_tree

MTIME = 1_700_000_000


def test_the_manifest_is_what_the_tree_is(tmp_path: Path) -> None:
    """Paths, modes, sizes, times and contents, in the canonical order; its id is its blob id."""
    write_tree(tmp_path, {"bin/tool": b"x" * 10_000, "empty": b""})
    (tmp_path / "bin/tool").chmod(0o755)
    os.utime(tmp_path / "empty", ns=(0, -1_500_000_000))
    (tmp_path / "tool").symlink_to("bin/tool")
    package = package_of(tmp_path)
    tool, empty = blob_id(b"x" * 10_000), blob_id(b"")
    assert package.manifest.decode() == (
        "#mtree\n"
        "./bin type=dir mode=0755\n"
        f"./bin/tool type=file mode=0755 size=10000 time=1700000000.000000000 contents={tool}\n"
        f"./empty type=file mode=0644 size=0 time=-2.500000000 contents={empty}\n"
        "./tool type=link mode=0777 link=bin/tool\n"
    )
    assert package.id == blob_id(package.manifest)


def test_the_order_of_a_directory_does_not_matter(tmp_path: Path) -> None:
    """Nor do the umask, the time zone, and the times of directories."""
    files = list(many_files(300).items())
    first = package_of(write_tree(tmp_path / "a", dict(files)))
    random.Random(1).shuffle(files)
    umask = os.umask(0o077)
    try:
        os.environ["TZ"] = "Asia/Kathmandu"
        time.tzset()
        write_tree(tmp_path / "b", dict(files))
        os.utime(tmp_path / "b/d1", (1, 1))
        second = package_of(tmp_path / "b")
    finally:
        os.umask(umask)
        del os.environ["TZ"]
        time.tzset()
    assert second.id == first.id
    assert second.manifest == first.manifest


def test_one_time_for_all_files(tmp_path: Path) -> None:
    """A tree that was built again has the same id if its times are set."""
    first = write_tree(tmp_path / "a", many_files(10))
    second = write_tree(tmp_path / "b", many_files(10), mtime=5)
    assert package_of(first).id != package_of(second).id
    assert package_of(first, 7).id == package_of(second, 7).id
    assert package_of(first, MTIME * 10**9).id == package_of(first).id


@pytest.mark.parametrize("change", ["content", "mode", "name", "target", "time"])
def test_every_difference_makes_another_package(tmp_path: Path, change: str) -> None:
    """Whatever a manifest says of an entry is part of the id."""
    write_tree(tmp_path, {"a": b"1"})
    (tmp_path / "link").symlink_to("a")
    before = package_of(tmp_path).id
    match change:
        case "content":
            write_tree(tmp_path, {"a": b"2"})
        case "mode":
            (tmp_path / "a").chmod(0o600)
        case "name":
            (tmp_path / "a").rename(tmp_path / "b")
        case "target":
            (tmp_path / "link").unlink()
            (tmp_path / "link").symlink_to("b")
        case "time":
            os.utime(tmp_path / "a", ns=(0, MTIME * 10**9 + 1))
    assert package_of(tmp_path).id != before


def test_an_empty_directory_is_a_package(tmp_path: Path) -> None:
    """It has no entries and no blobs."""
    package = package_of(tmp_path)
    assert (package.manifest, dict(package.holders)) == (b"#mtree\n", {})


@pytest.mark.parametrize("change", ["grows", "shrinks", "same size", "replaced", "gone", "a symlink now"])
def test_a_file_that_changed_since_it_was_found(tmp_path: Path, change: str) -> None:
    """It is a problem of its own; the other files are hashed all the same."""
    write_tree(tmp_path, {"a": b"1234", "b": b"fine"})
    path = tmp_path / "a"
    with Source(os.fsencode(tmp_path)) as source:
        tree = scan_tree(source, NOWHERE)
        match change:
            case "grows":
                path.write_bytes(b"12345")
            case "shrinks":
                path.write_bytes(b"123")
            case "same size":
                path.write_bytes(b"4321")
            case "replaced":
                (tmp_path / "new").write_bytes(b"1234")
                (tmp_path / "new").rename(path)
            case "gone":
                path.unlink()
            case "a symlink now":
                path.unlink()
                path.symlink_to("b")
        blobs, problems = hash_files(source, tree.files, Progress(0, 0), lambda: None)
    assert problems == [(b"a", CHANGED)]
    assert blobs == {b"b": blob_id(b"fine")}


@pytest.mark.parametrize("change", ["grows", "shrinks"])
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, change: str) -> None:
    """What was read of it until then is worth nothing."""
    write_tree(tmp_path, {"a": bytes(3000)})
    with Source(os.fsencode(tmp_path)) as source:
        (file,) = scan_tree(source, NOWHERE).files
        pieces = source.read(file, memoryview(bytearray(1000)))
        assert len(next(pieces)) == 1000
        os.truncate(tmp_path / "a", 4000 if change == "grows" else 1500)
        with pytest.raises(SourceFailed) as failure:
            list(pieces)
    assert failure.value.problem == (b"a", CHANGED)


def test_content_of_several_pieces(tmp_path: Path) -> None:
    """A file larger than a buffer is hashed as one."""
    content = random.Random(2).randbytes((2 << 20) + 12_345)
    write_tree(tmp_path, {"big": content})
    assert list(package_of(tmp_path).holders) == [blob_id(content)]


def test_progress_counts_files_and_bytes(tmp_path: Path) -> None:
    """At the end it is at its length, empty files included."""
    write_tree(tmp_path, {"a": b"123", "b": b"", "c": bytes(9000)})
    tree = scan(tmp_path)
    progress = Progress(3, 9003)
    with Source(os.fsencode(tmp_path)) as source:
        hash_files(source, tree.files, progress, lambda: None)
    assert progress.position == progress.length == 9006
    assert progress.files_text() == "3 of 3 files"
    assert progress.bytes_text() == "8.8 KiB of 8.8 KiB"


def test_the_same_content_is_one_blob(tmp_path: Path) -> None:
    """However many files have it."""
    write_tree(tmp_path, {"a": b"1", "b": b"1", "c": b"2"})
    with Source(os.fsencode(tmp_path)) as source:
        package, _ = read(source)
    assert package.holders.keys() == {blob_id(b"1"), blob_id(b"2")}
    assert package.files == 3
