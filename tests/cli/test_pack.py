"""``blobfs pack`` as a command, with a mount in memory."""

import json
import os
from pathlib import Path
from unittest.mock import Mock

import pytest
from click.testing import CliRunner, Result

from blobfs.cli import pack as pack_command
from blobfs.cli.pack import pack
from blobfs.cli.pack_problems import MOST_LINES
from blobfs.model import BlobId
from tests.cli.pack_trees import MemoryMount, many_files, package_of, write_tree


class Mounted:
    """A directory that passes for a mount; `mounts` are its transactions."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mounts: dict[BlobId, MemoryMount] = {}

    def transaction(self, mountpoint: str, package: BlobId) -> MemoryMount:
        assert mountpoint == str(self.path)
        return self.mounts.setdefault(package, MemoryMount(package))

    def pack(self, directory: Path, *options: str) -> Result:
        return CliRunner().invoke(pack, [*options, str(self.path), str(directory)])


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mounted:
    found = Mounted(tmp_path / "mnt")
    found.path.mkdir()
    stores = [(str(found.path), tmp_path / "store")]
    monkeypatch.setattr(pack_command, "find_stores", lambda mountpoint: stores)
    monkeypatch.setattr(pack_command, "Transaction", found.transaction)
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "tree", many_files(5))


def test_it_prints_the_id(mounted: Mounted, tree: Path) -> None:
    """One line on stdout, nothing on stderr; the second time the same."""
    package = package_of(tree).id
    for _ in range(2):
        done = mounted.pack(tree)
        assert (done.exit_code, done.stdout, done.stderr) == (0, f"{package}\n", "")
    assert mounted.mounts[package].is_whole


def test_json(mounted: Mounted, tree: Path) -> None:
    """One object with what was done."""
    write_tree(tree, {"again": b"0\n"})
    facts = {"id": package_of(tree).id, "files": 6, "blobs": 5, "bytes": 10, "written": 10, "name": None}
    assert json.loads(mounted.pack(tree, "--json").stdout) == facts
    facts |= {"written": 0, "name": "tool"}
    assert json.loads(mounted.pack(tree, "--json", "--name", "tool").stdout) == facts


def test_a_name(mounted: Mounted, tree: Path) -> None:
    """It leads to the package that is printed."""
    done = mounted.pack(tree, "--name", "tools/tool")
    assert os.readlink(mounted.path / "tools/tool") == f"../.blobfs/packages/{done.stdout.strip()}"


def test_a_name_that_is_taken(mounted: Mounted, tree: Path) -> None:
    """Nothing is written then."""
    (mounted.path / "tool").mkdir()
    done = mounted.pack(tree, "--name", "tool")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "Error: tool is there already and no symlink\n"
    assert mounted.mounts == {}


@pytest.mark.parametrize(
    ("seconds", "shown"), [("0", "0.000000000"), ("1.5", "1.500000000"), ("-1.5", "-2.500000000")]
)
def test_one_time(mounted: Mounted, tree: Path, seconds: str, shown: str) -> None:
    """--mtime is the time of every file."""
    assert mounted.pack(tree, "--mtime", seconds).exit_code == 0
    (mount,) = mounted.mounts.values()
    assert mount.meta is not None
    assert mount.meta.count(f" time={shown} ".encode()) == 5


@pytest.mark.parametrize(
    "option",
    ["--mtime=x", "--mtime=1e3", "--mtime=999999999999", "--jobs=0", "--name=..", "--name=.blobfs/x"],
)
def test_wrong_usage(mounted: Mounted, tree: Path, option: str) -> None:
    """Exit code 2, and nothing is written."""
    assert mounted.pack(tree, option).exit_code == 2
    assert mounted.mounts == {}


def test_everything_that_cannot_be_packed_is_named(mounted: Mounted, tree: Path) -> None:
    """One line each, in the order of the paths, however odd these are; nothing is published."""
    os.mkfifo(tree / "b\x1b[1m")
    os.mkfifo(os.fsencode(tree) + b"/a\n\xff")
    done = mounted.pack(tree)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        f"blobfs pack: {tree}/a\\n\\xff: a fifo cannot be in a package\n"
        f"blobfs pack: {tree}/b\\x1b[1m: a fifo cannot be in a package\n"
        "Error: nothing was published\n"
    )
    assert mounted.mounts == {}


def test_many_that_cannot_be_packed(mounted: Mounted, tree: Path) -> None:
    """The first ones are named, and the rest is counted."""
    for number in range(MOST_LINES + 13):
        os.mkfifo(tree / f"p{number:02d}")
    lines = mounted.pack(tree).stderr.splitlines()
    assert len(lines) == MOST_LINES + 2
    assert lines[MOST_LINES - 1].startswith(f"blobfs pack: {tree}/p{MOST_LINES - 1}: ")
    assert lines[MOST_LINES:] == ["blobfs pack: and 13 more", "Error: nothing was published"]


def test_a_file_that_changes(mounted: Mounted, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between hashing and writing: it is named, and the transaction is gone."""
    mount = MemoryMount(package_of(tree).id)
    mounted.mounts[mount.package] = mount

    def change(call: str, blob: BlobId | None) -> None:
        if call == "meta":
            (tree / "d0/f0").write_bytes(b"changed")

    mount.on_call = change
    done = mounted.pack(tree)
    assert done.exit_code == 1
    assert done.stderr == (
        f"blobfs pack: {tree}/d0/f0: it changed while it was being packed\nError: nothing was published\n"
    )
    assert not mount.is_open


@pytest.mark.parametrize("what", ["a file", "nothing", "the mount"])
def test_what_is_no_tree(mounted: Mounted, tree: Path, what: str) -> None:
    """Exit code 1 and one line for it."""
    directory, told = {
        "a file": (tree / "d0/f0", f"Error: {tree}/d0/f0: Not a directory\n"),
        "nothing": (tree / "x", f"Error: {tree}/x: No such file or directory\n"),
        "the mount": (
            mounted.path,
            f"blobfs pack: {mounted.path}: it is the mount itself\nError: nothing was published\n",
        ),
    }[what]
    done = mounted.pack(directory)
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", told)


def test_a_symlink_to_a_directory(mounted: Mounted, tree: Path, tmp_path: Path) -> None:
    """It may be named, and the directory is packed."""
    (tmp_path / "link").symlink_to(tree)
    assert mounted.pack(tmp_path / "link").stdout == mounted.pack(tree).stdout


def test_an_interrupt(mounted: Mounted, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that says how far it came, and exit code 130."""
    monkeypatch.setattr(pack_command, "hash_files", Mock(side_effect=KeyboardInterrupt))
    done = mounted.pack(tree)
    assert (done.exit_code, done.stderr) == (130, "Error: interrupted; nothing was published\n")


def test_not_a_mount(tree: Path, tmp_path: Path) -> None:
    """Exit code 1, and that is said."""
    done = CliRunner().invoke(pack, [str(tmp_path), str(tree)])
    assert (done.exit_code, done.stderr) == (1, f"Error: no blobfs is mounted on {tmp_path}\n")
