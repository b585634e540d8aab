"""What tests of loading look at and tamper with, from outside the nodes."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import trio

from blobfs.merkle import StreamHasher
from tests.mount.node import BlobfsNode
from tests.servers.scripted import ScriptedServer, scripted_server
from tests.structure import ROOT

T = TypeVar("T")

MIB = 1 << 20
PATIENCE = 15.0
"""Seconds within which what must come about "soon" has done so; far more than it takes."""
PAUSE = 0.05


def until(condition: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """The first true value of `condition`, asked again and again."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(PAUSE)
    return value


def errno_of(operation: Callable[[], object]) -> int:
    """The errno with which it fails; 0 when it does not."""
    try:
        operation()
    except OSError as error:
        return error.errno or -1
    return 0


def errno_of_read(path: Path) -> int:
    """Of reading the whole file, by system calls: Python's files take EAGAIN for an end."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError as error:
        return error.errno or -1
    try:
        return errno_of(lambda: read_to_end(fd))
    finally:
        os.close(fd)


def read_to_end(fd: int) -> bytes:
    return b"".join(iter(lambda: os.read(fd, MIB), b""))


def read_at(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb", buffering=0) as file:
        return os.pread(file.fileno(), length, offset)


def attribute(path: Path, name: str) -> str:
    return os.getxattr(path, f"user.blobfs.{name}").decode()


def last_error(path: Path) -> list[dict[str, Any]]:
    """The attempts of the last failure."""
    attempts: list[dict[str, Any]] = json.loads(attribute(path, "last_error"))
    return attempts


def put(node: BlobfsNode, name: str, content: bytes) -> str:
    """Writes a file on a node and returns its blob id once it is sealed."""
    path = node.path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return attribute(path, "id")


def blob_id(content: bytes) -> str:
    hasher = StreamHasher()
    hasher.append(content)
    return hasher.finish().root


def stored(share: Path) -> dict[str, bytes]:
    """Every blob in an exported share, by the id it stands under."""
    found = {}
    for path in (share / ".blobfs/blobs").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it may be let go of between the two looks
            found[path.name] = path.read_bytes()
    return found


def assert_sound(share: Path) -> None:
    """P10: what is exported is whole and is what it is called."""
    for blob, content in stored(share).items():
        assert blob_id(content) == blob, f"{share} holds wrong bytes as {blob}"


def copy_of(share: Path, target: Path) -> Path:
    """A share that can be tampered with: a blob and its names are no longer one file."""
    return Path(shutil.copytree(share, target, symlinks=True))


def flip(path: Path, offset: int, bit: int = 0) -> None:
    """One wrong bit."""
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 1 << bit]))


def rot(path: Path, offset: int, bit: int = 4) -> None:
    """As a disk does it: the file's times tell nothing."""
    found = path.stat()
    flip(path, offset, bit)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def present_chunks(node: BlobfsNode, blob: str) -> set[int]:
    """Which chunks of a partial blob a node that has ended will believe in at its next start."""
    path = node.store / "partial" / f"{blob}.map"
    if not path.exists():
        return set()
    bits = path.read_bytes()[11 + 8 :]
    return {8 * index + bit for index, byte in enumerate(bits) for bit in range(8) if byte >> bit & 1}


def children_of(pid: int) -> list[int]:
    """Whichever of its threads started them."""
    texts = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(child) for text in texts for child in text.split()]


@contextmanager
def scripted() -> Iterator[ScriptedServer]:
    """`scripted_server` in a thread of its own: tests of mounts block."""
    up: SimpleQueue[tuple[ScriptedServer, trio.lowlevel.TrioToken, trio.Event]] = SimpleQueue()

    async def serve() -> None:
        async with scripted_server() as server:
            stop = trio.Event()
            up.put((server, trio.lowlevel.current_trio_token(), stop))
            await stop.wait()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    server, token, stop = up.get(timeout=PATIENCE)
    try:
        yield server
    finally:
        trio.from_thread.run_sync(stop.set, trio_token=token)
        thread.join(PATIENCE)


def blobfs(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command, to its end."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "blobfs", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def assert_one_line(done: subprocess.CompletedProcess[str]) -> None:
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "Traceback" not in done.stderr
