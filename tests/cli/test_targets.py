"""From what was typed to a name in a mount."""

from pathlib import Path

import pytest

from blobfs.cli.targets import find_name, find_stores
from blobfs.errors import StartRefused

ID = "ab" * 32


@pytest.fixture
def mountpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A mountpoint, seen from the directory that holds it."""
    (tmp_path / "mnt/d").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return str(tmp_path / "mnt")


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("d/f", "d/f"),
        ("./f", "f"),
        ("mnt/d/f", "d/f"),
        ("mnt", ""),
        ("mnt/d/../f", "f"),
        ("../x", "../x"),
        (ID, f".blobfs/blobs/{ID}"),
        (f"mnt/.blobfs/blobs/{ID}", f".blobfs/blobs/{ID}"),
        (f".blobfs/blobs/{ID}", f".blobfs/blobs/{ID}"),
        (f"./{ID}", ID),
        (f"mnt/{ID}", ID),
        (ID.upper(), ID.upper()),
    ],
)
def test_names_paths_and_ids(mountpoint: str, typed: str, name: str) -> None:
    """A path below the mountpoint, a blob id, or a name as it is; what is no name, the node refuses."""
    assert find_name(mountpoint, typed) == name


def test_absolute_paths(mountpoint: str) -> None:
    """In the mount they are names, elsewhere they are nothing."""
    assert find_name(mountpoint, f"{mountpoint}/d/f") == "d/f"
    assert find_name(mountpoint, "/etc/passwd") is None
    assert find_name(mountpoint, f"{mountpoint}2/f") is None


def test_a_path_through_a_link(mountpoint: str, tmp_path: Path) -> None:
    """Links above the mountpoint are followed."""
    (tmp_path / "link").symlink_to(tmp_path)
    assert find_name(mountpoint, f"{tmp_path}/link/mnt/d/f") == "d/f"


def test_from_inside_the_mount(mountpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is typed there is a path."""
    monkeypatch.chdir(f"{mountpoint}/d")
    assert find_name(mountpoint, "f") == "d/f"
    assert find_name(mountpoint, "../f") == "f"


def test_no_such_mount(tmp_path: Path) -> None:
    """Only mounts of blobfs are found."""
    with pytest.raises(StartRefused, match="no blobfs is mounted on"):
        find_stores(str(tmp_path))
