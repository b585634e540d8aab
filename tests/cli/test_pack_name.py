"""The name of a package: a symlink, here in a plain directory."""

import os
from pathlib import Path

import click
import pytest

from blobfs.cli.pack_name import PackageName
from blobfs.model import BlobId

OLD, NEW = BlobId("ab" * 32), BlobId("cd" * 32)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("tool", f".blobfs/packages/{NEW}"),
        ("tools/tool", f"../.blobfs/packages/{NEW}"),
        ("a/b/c", f"../../.blobfs/packages/{NEW}"),
    ],
)
def test_it_leads_to_the_package(tmp_path: Path, name: str, target: str) -> None:
    """However deep it stands; its directories are made."""
    PackageName(str(tmp_path), name).point_to(NEW)
    assert os.readlink(tmp_path / name) == target
    assert os.path.normpath((tmp_path / name).parent / target) == f"{tmp_path}/.blobfs/packages/{NEW}"


def test_a_path_in_the_mount_is_a_name(tmp_path: Path) -> None:
    """As for every command."""
    assert PackageName(str(tmp_path), f"{tmp_path}/tools/tool").name == "tools/tool"


@pytest.mark.parametrize("name", ["", "..", "a//b", ".blobfs/x", "a/.blobfs", "x" * 256, "/etc/x", OLD])
def test_what_is_no_name(tmp_path: Path, name: str) -> None:
    """Wrong usage."""
    with pytest.raises(click.UsageError):
        PackageName(str(tmp_path), name)


def test_a_symlink_is_replaced(tmp_path: Path) -> None:
    """Nothing is left beside it; what it means already is left alone."""
    name = PackageName(str(tmp_path), "tool")
    name.point_to(OLD)
    name.demand_free()
    name.point_to(NEW)
    before = (tmp_path / "tool").lstat()
    name.point_to(NEW)
    assert (tmp_path / "tool").lstat().st_ino == before.st_ino
    assert os.readlink(tmp_path / "tool").endswith(NEW)
    assert os.listdir(tmp_path) == ["tool"]


def test_it_is_there_all_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old one stands until the new one is put over it."""
    name = PackageName(str(tmp_path), "tool")
    name.point_to(OLD)
    seen = []
    rename = os.rename

    def watch(source: str, target: str) -> None:
        seen.append(os.readlink(tmp_path / "tool"))
        rename(source, target)

    monkeypatch.setattr(os, "rename", watch)
    name.point_to(NEW)
    assert seen == [f".blobfs/packages/{OLD}"]


@pytest.mark.parametrize("number", [1, 28])
def test_a_symlink_that_cannot_be_replaced_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """And what was made beside it is removed."""
    name = PackageName(str(tmp_path), "tool")
    name.point_to(OLD)

    def refuse(source: str, target: str) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(click.ClickException, match=f"tool cannot be made: {os.strerror(number)}"):
        name.point_to(NEW)
    assert os.listdir(tmp_path) == ["tool"]
    assert os.readlink(tmp_path / "tool").endswith(OLD)


@pytest.mark.parametrize("what", ["file", "directory", "in a file"])
def test_anything_else_stays(tmp_path: Path, what: str) -> None:
    """It is refused before there is a package."""
    if what == "directory":
        (tmp_path / "tool").mkdir()
    else:
        (tmp_path / "tool").write_text("mine")
    name = PackageName(str(tmp_path), "tool/x" if what == "in a file" else "tool")
    with pytest.raises(click.ClickException) as failure:
        name.demand_free()
    assert failure.value.message in (
        "tool is there already and no symlink",
        "tool/x cannot be made: Not a directory",
    )
