"""What a scenario works with: a folder that goes away, shared content, shares that count, fresh nodes."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.servers.nginx import Nginx
from tools.benchmarks.measuring import Figures
from tools.benchmarks.node import MeasuredNode

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
MB = 1_000_000

CONTENT = "content"
"""The name of the one blob where a scenario needs only one."""
PAGE = 4 * KIB


@dataclass(frozen=True, slots=True)
class Workbench:
    """How much is to be done, and where."""

    folder: Path
    runs: int
    quick: bool

    def size(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    @contextlib.contextmanager
    def place(self) -> Iterator[Path]:
        """A directory of one's own, emptied afterwards."""
        path = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            yield path
        finally:
            empty(path)

    @contextlib.contextmanager
    def source(self, write: Callable[[Path], None]) -> Iterator[Path]:
        """The share directory of a node, with what `write` writes into its mount. The node is gone again."""
        with self.place() as place:
            with MeasuredNode(place, "source") as node:
                write(node.mountpoint)
                node.wait_until_sealed()
                share = node.share
            os.sync()
            yield share

    @contextlib.contextmanager
    def node(
        self, shares: Sequence[str], options: Sequence[str] = ("fill=never",), arguments: Sequence[str] = ()
    ) -> Iterator[MeasuredNode]:
        """A node with an empty store. No byte of it is left afterwards, not even on its way to the disk."""
        with self.place() as place, MeasuredNode(
            place, "node", shares=shares, options=options, arguments=arguments
        ) as node:  # fmt: skip
            yield node
        os.sync()


def empty(path: Path) -> None:
    """Its files are there and have no bytes.

    ext4 gives no inode away again that was freed in the last minutes, and looks at each of them whenever a
    file is made: after some thousands of removed files the next one takes 160 us to make instead of 20.
    """
    _demand_unmounted(path)
    for folder, _, names in os.walk(path):
        for name in names:
            file = f"{folder}/{name}"
            found = os.lstat(file)
            if stat.S_ISREG(found.st_mode) and found.st_size:
                os.truncate(file, 0)


def remove(path: Path) -> None:
    """A directory with all that is in it."""
    _demand_unmounted(path)
    shutil.rmtree(path, ignore_errors=True)


def _demand_unmounted(path: Path) -> None:
    mounts = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
    if any(line.split(" ")[4].startswith(f"{path}/") for line in mounts.splitlines()):
        raise RuntimeError(f"still mounted below {path}")


@contextlib.contextmanager
def served(share: Path, count: int = 1, directives: str = "") -> Iterator[list[Nginx]]:
    """So many servers of one share directory, each with a log of its own."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Nginx(share, directives)) for _ in range(count)]


def counted(*servers: Nginx) -> Figures:
    """What they answered and sent so far, heads included."""
    requests = [request for server in servers for request in server.requests()]
    return {"requests": len(requests), "MB": sum(request.bytes_sent for request in requests) / MB}


def write_noise(path: Path, size: int, *, seed: int = 0, sparse: bool = False) -> None:
    """`size` bytes of which no two MiB are alike. Sparse: a page in each MiB, the rest are cheap holes."""
    block = bytearray(random.Random(seed).randbytes(PAGE if sparse else MIB))
    with path.open("wb", buffering=0) as file:
        for offset in range(0, size, MIB):
            block[:8] = offset.to_bytes(8, "little")
            os.pwrite(file.fileno(), block[: size - offset], offset)
        os.ftruncate(file.fileno(), size)
        os.fsync(file.fileno())


def blob_id(share: Path, name: str) -> str:
    record = json.loads((share / ".blobfs" / "names" / name).read_text("utf-8"))
    return str(record["blob"])


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def one_blob(size: int, *, sparse: bool = False) -> Callable[[Path], None]:
    """Writes `CONTENT` of that size."""
    return lambda mountpoint: write_noise(mountpoint / CONTENT, size, sparse=sparse)
