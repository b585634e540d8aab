"""A start that cannot be is refused before anything is touched: one line, and exit code 1, or 2 for settings
that cannot be."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.mount.conftest import StartNode
from tests.mount.node import BlobfsNode
from tests.mount.probes import assert_one_line, blobfs, put


def assert_refused(done: subprocess.CompletedProcess[str], *words: str, code: int = 1) -> None:
    """One line that has these words."""
    assert done.returncode == code, done
    assert_one_line(done)
    for word in words:
        assert word in done.stderr


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A directory with an empty mountpoint `mnt`."""
    (tmp_path / "mnt").mkdir()
    return tmp_path


@pytest.mark.parametrize("background", [[], ["--background"]], ids=["foreground", "background"])
def test_a_missing_mountpoint(empty: Path, background: list[str]):
    """Nothing to mount on is refused in one line, before the store is made; also from the background."""
    done = blobfs("mount", *background, "--store", empty / "store", empty / "missing")
    assert_refused(done, str(empty / "missing"), "No such file")
    assert not (empty / "store").exists()


def test_a_file_as_a_mountpoint(empty: Path):
    """A file is no mountpoint."""
    (empty / "file").touch()
    done = blobfs("mount", "--store", empty / "store", empty / "file")
    assert_refused(done, str(empty / "file"), "Not a directory")


def test_a_mountpoint_with_files(empty: Path):
    """A directory that is not empty is refused, because its files would be hidden."""
    (empty / "mnt/file").touch()
    done = blobfs("mount", "--store", empty / "store", empty / "mnt")
    assert_refused(done, str(empty / "mnt"), "not empty")


def test_a_mountpoint_in_use(node: BlobfsNode, tmp_path: Path):
    """A second mount on the same directory is refused; the first one lives on."""
    done = blobfs("mount", "--store", tmp_path / "other", node.mountpoint)
    assert_refused(done, str(node.mountpoint), "already mounted")
    assert put(node, "f", b"lives on")


def test_two_daemons_on_one_store(node: BlobfsNode, empty: Path):
    """One daemon per store: the second is told the process of the first."""
    assert node.process is not None
    done = blobfs("mount", "--store", node.store, empty / "mnt")
    assert_refused(done, str(node.store), "in use", str(node.process.pid))
    assert put(node, "f", b"lives on")


def test_a_store_of_a_newer_version(start_node: StartNode, empty: Path):
    """A store this version does not know is refused, and not touched."""
    a = start_node("a")
    put(a, "f", b"content")
    a.stop()
    (a.store / "format").write_text("blobfs store 2\n")
    before = sorted(path for path in a.store.rglob("*") if path.name != "lock")
    assert_refused(blobfs("mount", "--store", a.store, empty / "mnt"), str(a.store), "format 2")
    assert sorted(path for path in a.store.rglob("*") if path.name != "lock") == before


def test_a_directory_that_is_no_store(empty: Path):
    """A directory with other files is not made a store."""
    (empty / "home").mkdir()
    (empty / "home/letter.txt").write_text("dear")
    done = blobfs("mount", "--store", empty / "home", empty / "mnt")
    assert_refused(done, str(empty / "home"), "not a blobfs store", "letter.txt")
    assert os.listdir(empty / "home") == ["letter.txt"]


def test_a_file_as_a_store(empty: Path):
    """A file is no store."""
    (empty / "store").write_text("dear")
    assert_refused(blobfs("mount", "--store", empty / "store", empty / "mnt"), str(empty / "store"))


def test_a_store_below_its_mountpoint(empty: Path):
    """A mount would hide its own store."""
    done = blobfs("mount", "--store", empty / "mnt/store", empty / "mnt")
    assert_refused(done, str(empty / "mnt/store"), "hidden", code=2)
    assert os.listdir(empty / "mnt") == []


@pytest.mark.parametrize(
    ("option", "url"),
    [
        ("--share", "htp://typo/"),
        ("--share", "host/path"),
        ("--share", "http://"),
        ("--share", "http://host:99999/"),
        ("--share", "http://host/?query"),
        ("--share", ""),
        ("--plain-share", "ftp://host/"),
    ],
)
def test_a_bad_share_url(empty: Path, option: str, url: str):
    """A share that cannot be one is refused before the store is made."""
    done = blobfs("mount", "--store", empty / "store", option, url, empty / "mnt")
    assert_refused(done, option, "share", code=2)
    assert not (empty / "store").exists()


def test_a_bad_share_url_does_not_tell_its_password(empty: Path):
    """Credentials are never shown."""
    done = blobfs("mount", "--store", empty / "store", "--share", "htp://user:secret@host/", empty / "mnt")
    assert_refused(done, "host", code=2)
    assert "secret" not in done.stderr


@pytest.mark.parametrize("listen", ["localhost", "127.0.0.1:http", "127.0.0.1:99999", ":"])
def test_a_bad_address_to_listen_on(empty: Path, listen: str):
    """What is no HOST:PORT is refused."""
    done = blobfs("mount", "--store", empty / "store", "--listen", listen, empty / "mnt")
    assert_refused(done, "--listen", listen, code=2)


def test_a_port_in_use(empty: Path):
    """A port somebody else listens on is refused."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        done = blobfs("mount", "--store", empty / "store", "--listen", listen, empty / "mnt")
    assert_refused(done, listen, "in use")


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--no-such-option"], id="unknown option"),
        pytest.param(["-o", "read_timeout=soon"], id="no number"),
        pytest.param(["-o", "max_tries=0"], id="out of range"),
        pytest.param(["-o", "fill=always"], id="no such word"),
        pytest.param(["extra", "operands"], id="operands"),
    ],
)
def test_wrong_usage(empty: Path, arguments: list[str]):
    """Wrong usage is exit code 2, with the reason and no traceback."""
    done = blobfs("mount", "--store", empty / "store", *arguments, empty / "mnt")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in done.stderr
    assert not (empty / "store").exists()


def test_a_mount_option_that_nobody_knows(empty: Path):
    """What neither blobfs nor libfuse knows is refused."""
    done = blobfs("mount", "--store", empty / "store", "-o", "no_such_thing", empty / "mnt")
    assert_refused(done, "no_such_thing", code=2)
