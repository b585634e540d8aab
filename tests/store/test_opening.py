"""Opening a store: who may, what is found out, and what the operator is told."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from blobfs import errors
from blobfs.model import ROOT
from blobfs.store import names
from blobfs.store.opening import Store, file_system_type, open_store
from tests.store.conftest import Mount, Reopen

SECONDS = 30
ROOT_OF_SOURCES = Path(__file__).parents[2]


def refusal(root: Path) -> str:
    with pytest.raises(errors.StoreRefused) as caught:
        open_store(root).close()
    message = str(caught.value)
    assert "\n" not in message
    return message


def open_elsewhere(root: Path, then: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Opens the store in another process and runs a statement there."""
    program = (
        "import os, pathlib, sys; from blobfs.store.opening import open_store;"
        f"store = open_store(pathlib.Path(sys.argv[1])); {then}"
    )
    return subprocess.run(
        [sys.executable, "-c", program, str(root)],
        env={**environment, "PYTHONPATH": str(ROOT_OF_SOURCES)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def test_new_store_has_all_its_places(store: Store, root: Path) -> None:
    """A directory that is not there becomes a store; only the share is for others to read."""
    assert (root / "format").read_bytes() == b"blobfs store 1\n"
    assert (root / "lock").read_text().split() == [str(os.getpid())]
    modes = {path.relative_to(root).as_posix(): path.stat().st_mode & 0o777 for path in root.rglob("*")}
    assert {path: mode for path, mode in modes.items() if path.startswith("share")} == {
        "share": 0o755,
        "share/.blobfs": 0o755,
        "share/.blobfs/blobs": 0o755,
        "share/.blobfs/trees": 0o755,
        "share/.blobfs/bundles": 0o755,
        "share/.blobfs/names": 0o755,
        "share/.blobfs/names/.blobfs-log": 0o644,
    }
    assert {modes[place] for place in ("incoming", "partial", "needed", "packages", "quarantine")} == {0o700}
    assert store.was_clean
    assert names.read_directory(store, ROOT) == {}


def test_umask_does_not_matter(root: Path) -> None:
    """A strict umask must not hide the share from the web server."""
    before = os.umask(0o077)
    try:
        open_store(root).close()
    finally:
        os.umask(before)
    assert (root / "share/.blobfs/names").stat().st_mode & 0o777 == 0o755
    assert (root / "share/.blobfs/names/.blobfs-log").stat().st_mode & 0o777 == 0o644


def test_clean_end_is_noticed_once(store: Store, reopen: Reopen) -> None:
    """The mark of a clean end is there between the end and the next start only."""
    second = reopen(store, True)
    assert second.was_clean
    assert not second.layout.clean.exists()
    third = reopen(second, False)
    assert not third.was_clean
    assert reopen(third, True).was_clean


def test_close_twice(store: Store) -> None:
    """A second close does nothing: the descriptors may be somebody else's by then."""
    store.close()
    store.close(clean=False)
    assert store.layout.clean.exists()


def test_clean_end_is_flushed_first(store: Store) -> None:
    """The promise that all is well is not on the disk before all is well."""
    store.close()
    assert store.flushes.group_flushes == 1


def test_in_use(store: Store, root: Path) -> None:
    """A second daemon is told which process has the store, and changes nothing."""
    run = open_elsewhere(root, "store.close()", os.environ)
    assert run.returncode == 1
    assert f"the store {root} is in use by process {os.getpid()}\n" in run.stderr
    assert refusal(root) == f"the store {root} is in use by process {os.getpid()}"


def test_lock_goes_with_the_process(root: Path) -> None:
    """After a SIGKILL nothing has to be removed by hand; the end counts as unclean."""
    run = open_elsewhere(root, "os.kill(os.getpid(), 9)", os.environ)
    assert run.returncode == -9
    store = open_store(root)
    assert not store.was_clean
    store.close()


def test_other_versions_are_refused(root: Path) -> None:
    """A store of a later format is left alone; both versions are named."""
    open_store(root).close()
    (root / "format").write_text("blobfs store 2\n")
    assert refusal(root) == f"{root} holds a store of format 2, this blobfs knows format 1"


@pytest.mark.parametrize("text", [b"", b"blobfs store 1", b"blobfs store x\n", b"\xff" * 100_000])
def test_broken_format_is_refused(root: Path, text: bytes) -> None:
    """What does not say which format it has is not touched."""
    open_store(root).close()
    (root / "format").write_bytes(text)
    assert refusal(root).startswith(f"{root}/format does not say which store this is: ")


def test_foreign_directory_is_refused(root: Path) -> None:
    """A mistyped path must not turn somebody's files into a store."""
    root.mkdir()
    (root / "thesis.tex").touch()
    assert refusal(root) == f"{root} is not a blobfs store and not empty: there is 'thesis.tex' in it"
    assert [path.name for path in root.iterdir()] == ["thesis.tex"]


def test_fresh_file_system_and_interrupted_creation_are_fine(root: Path) -> None:
    """ext4's lost+found, and what a crash in the first moment leaves, are no reason to refuse."""
    root.mkdir()
    (root / "lost+found").mkdir()
    (root / "lock").touch()
    (root / "format.new").write_bytes(b"blob")
    open_store(root).close()
    assert (root / "format").read_bytes() == b"blobfs store 1\n"
    assert not (root / "format.new").exists()


def test_missing_directories_come_back(store: Store, reopen: Reopen) -> None:
    """A restored backup without its empty directories is still a store."""
    store.layout.needed.rmdir()
    store.layout.trees.rmdir()
    again = reopen(store, True)
    assert again.layout.needed.is_dir()
    assert again.layout.trees.is_dir()


def test_left_over_temps_are_removed(store: Store, reopen: Reopen) -> None:
    """Whatever was on its way to its place when the daemon died is gone; files that were written stay."""
    temp = store.layout.new_temp()
    temp.touch()
    temp_directory = store.layout.new_temp()
    temp_directory.mkdir()
    (temp_directory / "log").touch()
    kept = store.layout.new_incoming()
    kept.touch()
    again = reopen(store, False)
    assert list(again.layout.incoming.iterdir()) == [kept]


def test_no_extended_attributes(tmp_path: Path, mount: Mount) -> None:
    """A file system without them is refused by name, before anything is promised."""
    root = mount("ramfs", "mode=0700", tmp_path / "ram")
    assert refusal(root) == (
        f"the file system of {root} (ramfs) has no extended attributes (user_xattr),"
        " which a store needs: Operation not supported"
    )


def test_no_links_between_directories(store: Store, root: Path, mount: Mount) -> None:
    """A share on a file system of its own cannot hold the same files."""
    store.close()
    mount("tmpfs", "size=1m", root / "partial")
    assert refusal(root) == (
        f"the file system of {root} ({file_system_type(root)}) has no hard links between its directories,"
        " which a store needs: Invalid cross-device link"
    )


def test_read_only(tmp_path: Path, mount: Mount) -> None:
    """A disk that cannot be written to is refused with the system's own words."""
    root = mount("tmpfs", "size=1m,ro", tmp_path / "read-only")
    assert refusal(root) == f"cannot open the store {root}: Read-only file system: {root}/lock"


def test_not_a_directory(tmp_path: Path) -> None:
    """A file in the store's place is refused."""
    path = tmp_path / "file"
    path.touch()
    assert refusal(path).startswith(f"cannot open the store {path}: ")


def test_other_file_name_encodings_are_refused(root: Path) -> None:
    """Names are UTF-8 on the disk, or two nodes would disagree about them."""
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    run = open_elsewhere(root, "store.close()", ascii_only)
    assert "file names are not UTF-8 here" in run.stderr
    assert not root.exists()


def test_file_system_type_of_nested_mounts(tmp_path: Path, mount: Mount) -> None:
    """The innermost mount counts, also where its path has a blank in it."""
    outer = mount("tmpfs", "size=1m", tmp_path / "a b")
    assert file_system_type(outer / "x") == "tmpfs"
    inner = mount("ramfs", "mode=0700", outer / "c")
    assert file_system_type(inner) == "ramfs"
    assert file_system_type(Path("/proc")) == "proc"


def test_space_is_the_file_systems(store: Store, root: Path) -> None:
    """`statfs` at the mount tells the truth about the disk."""
    assert store.space().f_blocks == os.statvfs(root).f_blocks


def test_flushes_are_counted(store: Store) -> None:
    """What a seal costs can be measured."""
    with open(store.layout.new_temp(), "wb") as file:
        store.flushes.file(file.fileno())
        store.flushes.file(file.fileno())
    store.flushes.everything()
    assert repr(store.flushes) == "Flusher(file_flushes=2, group_flushes=1)"


def test_failed_flush_is_a_broken_store(store: Store) -> None:
    """A flush that fails never counts as one, and is an error of the store."""
    with pytest.raises(errors.StoreBroken, match="Bad file descriptor"):
        store.flushes.file(1 << 20)
    store.close(clean=False)
    with pytest.raises(errors.StoreBroken):
        store.flushes.everything()
    assert (store.flushes.file_flushes, store.flushes.group_flushes) == (0, 0)
