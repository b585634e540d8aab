"""Stores that are not root's, in root's hands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from blobfs.store.opening import open_store
from tests.structure import ROOT

NOBODY = 65534
SECONDS = 30


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A store of another user, in a directory that he gets to."""
    for directory in (tmp_path, *tmp_path.parents):
        if directory.stat().st_uid == 0 and not directory.stat().st_mode & 1:
            directory.chmod(0o711)
    store = tmp_path / "store"
    open_store(store).close(clean=True)
    for path in (store, *store.rglob("*")):
        os.lchown(path, NOBODY, NOBODY)
    return store


def verify(store: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "blobfs", "verify", *options, str(store)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def test_root_writes_through_no_link_of_the_owner(theirs: Path, tmp_path: Path) -> None:
    """The owner of a store can make its lock a link to a file of root's: nothing is written there."""
    precious = tmp_path / "precious"
    precious.write_text("root:x:0:0:")
    (theirs / "lock").unlink()
    (theirs / "lock").symlink_to(precious)
    for options in ((), ("--repair",)):
        verify(theirs, *options)
        assert precious.read_text() == "root:x:0:0:"


def test_what_root_makes_in_a_store_is_its_owners(theirs: Path) -> None:
    """Else its daemon could not open it again."""
    (theirs / "clean").unlink()
    found = verify(theirs, "--repair")
    assert (found.returncode, found.stderr) == (0, "")
    assert {path.lstat().st_uid for path in (theirs, *theirs.rglob("*"))} == {NOBODY}


def test_a_name_in_a_report_is_text(tmp_path: Path) -> None:
    """What a terminal obeys is not said to it, whatever a file is called."""
    store = tmp_path / "store"
    open_store(store).close(clean=True)
    (store / "share/a\x1b[31m\nb").write_text("not sealed")
    found = verify(store)
    assert "\x1b" not in found.stdout
    assert r"a\x1b[31m\nb" in found.stdout
