"""What every test may use, and the guarantee that no test leaves a mount behind."""

import fcntl
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from blobfs.store.opening import Store, open_store

UMOUNT_SECONDS = 10


@pytest.fixture
def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where `store` is."""
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> Iterator[Store]:
    """A store on real disk."""
    opened = open_store(root)
    yield opened
    opened.close(clean=False)


@pytest.fixture(scope="session", autouse=True)
def no_mount_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """At the end, lazily unmounts what is still mounted below the tests' directory, and reports it."""
    yield
    left = mounts_below(tmp_path_factory.getbasetemp())
    for mountpoint in left:
        subprocess.run(["umount", "--lazy", mountpoint], timeout=UMOUNT_SECONDS, check=False)
    if left:
        pytest.fail(f"left mounted: {', '.join(map(str, left))}", pytrace=False)


def mounts_below(root: Path) -> list[Path]:
    """The mountpoints below `root`, innermost first. Asks the kernel's table, never the mounts themselves."""
    table = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    mounted = [Path(_unescape(line.split(" ")[4])) for line in table.splitlines()]
    return sorted((path for path in mounted if root in path.parents), reverse=True)


def _unescape(field: str) -> str:
    """mountinfo writes blanks, tabs, line feeds and backslashes as three octal digits."""
    for char in " \t\n":
        field = field.replace(f"\\{ord(char):03o}", char)
    return field.replace("\\134", "\\")


@pytest.fixture
def dropping_caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For a test that empties caches of the kernel: no test that counts on them runs meanwhile."""
    with _caches(tmp_path_factory, fcntl.LOCK_EX):
        yield


@pytest.fixture
def steady_caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For a test that counts what the kernel does not ask for again. Tests run in several processes."""
    with _caches(tmp_path_factory, fcntl.LOCK_SH):
        yield


@contextmanager
def _caches(tmp_path_factory: pytest.TempPathFactory, operation: int) -> Iterator[None]:
    with (tmp_path_factory.getbasetemp().parent / "caches-lock").open("w") as lock:
        fcntl.flock(lock, operation)
        yield
