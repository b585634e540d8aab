"""A store on real disk, and file systems that lack something."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blobfs.store.opening import Store, open_store

MOUNT_SECONDS = 10


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> Iterator[Store]:
    opened = open_store(root)
    yield opened
    opened.close()


@pytest.fixture
def tells_what_is_cached(tmp_path: Path) -> bool:
    """Whether RWF_NOWAIT is known where the tests are: tmpfs sends every read to a thread."""
    path = tmp_path / "probe"
    path.write_bytes(b"x")
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.preadv(fd, [bytearray(1)], 0, os.RWF_NOWAIT) == 1
    except OSError:
        return False
    finally:
        os.close(fd)
        path.unlink()


Reopen = Callable[[Store, bool], Store]


@pytest.fixture
def reopen() -> Iterator[Reopen]:
    """Ends a store, clean or not, and opens it again."""
    with contextlib.ExitStack() as stack:

        def again(store: Store, clean: bool) -> Store:
            store.close(clean)
            opened = open_store(store.layout.root)
            stack.callback(opened.close)
            return opened

        yield again


Mount = Callable[[str, str, Path], Path]


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Mounts a kind of file system with options on a directory it makes; unmounts whatever happens."""
    with contextlib.ExitStack() as stack:

        def mounted(kind: str, options: str, at: Path) -> Path:
            at.mkdir(exist_ok=True)
            command = ["mount", "-t", kind, "-o", options, "blobfs-test", str(at)]
            subprocess.run(command, check=True, timeout=MOUNT_SECONDS)
            stack.callback(subprocess.run, ["umount", "--lazy", str(at)], check=True, timeout=MOUNT_SECONDS)
            return at

        yield mounted
