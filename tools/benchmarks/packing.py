"""Packages to measure with, and the same trees for those who know no packages: plain, and as archives."""

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.servers.nginx import Nginx
from tools.benchmarks.measuring import Figures
from tools.benchmarks.node import MeasuredNode
from tools.benchmarks.running import Failed, Overdue, Word, run
from tools.benchmarks.tap import tapped
from tools.benchmarks.usage import run_beside
from tools.benchmarks.workbench import MB, Workbench, served

SYSTEM_PYTHON = "/usr/bin/python3"
"""Its library is a package everybody has, and it starts from wherever it is told."""
NOT_THE_LIBRARY = ("site-packages", "dist-packages")
LITTLE_USED = ("config-*", "distutils", "lib2to3", "multiprocessing", "test", "unittest", "wsgiref", "xml")
"""Half of the library and most of its bytes; for quick runs."""
TREE, ARCHIVE = "tree", "tree.tar"
BUNDLE_SECONDS = 30.0
"""For the bundle to be made, after the package is complete."""


@dataclass(frozen=True, slots=True)
class Network:
    """What lies between a share and those who load from it."""

    title: str
    rate: float | None = None
    """Bytes a second of the share, all its connections together."""
    delay: float = 0.0
    """Seconds, one way."""

    @contextlib.contextmanager
    def serve(self, root: Path, directives: str = "") -> Iterator[tuple[Nginx, str]]:
        """A web server, and where to ask it."""
        with (
            served(root, directives=directives) as [server],
            tapped(server.port, self.rate, self.delay) as url,
        ):
            yield server, url


LOOPBACK = Network("loopback")
CAPPED = Network("100 MB/s", rate=100 * MB)
FAR = Network("100 MB/s, 10 ms of round trip", rate=100 * MB, delay=0.005)


@dataclass(frozen=True, slots=True)
class Packed:
    """One tree three times: as it is, as a package in a share, and as an archive."""

    plain: Path
    """Exported to those who know no packages: `TREE` and `ARCHIVE` are in it."""
    share: Path
    package: str
    files: int
    size: int
    """Bytes of all its files."""

    @property
    def tree(self) -> Path:
        return self.plain / TREE

    def __str__(self) -> str:
        return f"{self.files:,} files, {self.size / MB:.1f} MB"


def blobfs(bench: Workbench, *arguments: Word) -> list[Word]:
    """The command, compiled once: tools/bench-loads itself leaves no bytecode behind."""
    bytecode = bench.folder / "bytecode"
    environment: list[Word] = ["-u", "PYTHONDONTWRITEBYTECODE", f"PYTHONPYCACHEPREFIX={bytecode}"]
    return ["env", *environment, sys.executable, "-P", "-m", "blobfs", *arguments]


def start_up(bench: Workbench) -> Figures:
    """What the command takes to find out that it has nothing to do but to print its help."""
    return {"seconds": run(*blobfs(bench, "load", "--help")).seconds}


@contextlib.contextmanager
def packed(bench: Workbench, write: Callable[[Path], None]) -> Iterator[Packed]:
    """What `write` makes of an empty directory. The node that packed it is gone; its share is left."""
    with bench.place() as place:
        plain = place / "plain"
        (plain / TREE).mkdir(parents=True)
        write(plain / TREE)
        run("tar", "-cf", plain / ARCHIVE, "-C", plain / TREE, ".")
        with MeasuredNode(place, "source") as node:
            package, _ = pack(bench, node, plain / TREE)
        os.sync()
        sizes = [path.stat().st_size for path in _files(plain / TREE)]
        yield Packed(plain, node.share, package, len(sizes), sum(sizes))


def pack(bench: Workbench, node: MeasuredNode, tree: Path) -> tuple[str, Figures]:
    """The package's id, and what it took until the command was back and its bundle was there."""
    result = node.store.parent / "packed.json"
    command = blobfs(bench, "pack", "--json", node.mountpoint, tree)
    figures = run_beside(node.pid, "sh", "-c", 'exec "$@" > "$0"', result, *command)
    package = str(json.loads(result.read_text("utf-8"))["id"])
    bundle = node.share / ".blobfs" / "bundles" / package
    end = time.monotonic() + BUNDLE_SECONDS
    while not bundle.exists():
        if time.monotonic() > end:
            raise Overdue(f"no bundle of {package} after {BUNDLE_SECONDS:g} s")
        time.sleep(0.02)
    return package, figures


def write_library(bench: Workbench, directory: Path) -> None:
    """The system's Python library, below the prefix `directory`; without links that lead out of it."""
    ask = "import json, sys, sysconfig; print(json.dumps([sysconfig.get_path('stdlib'), sys.base_prefix]))"
    library, prefix = map(Path, json.loads(run(SYSTEM_PYTHON, "-I", "-c", ask).said))

    unwanted = shutil.ignore_patterns(*NOT_THE_LIBRARY, *(LITTLE_USED if bench.quick else ()))

    def left_out(folder: str, names: list[str]) -> set[str]:
        links = (name for name in names if os.path.islink(f"{folder}/{name}"))
        outward = {name for name in links if not _leads_into(Path(folder, name), library)}
        return outward | unwanted(folder, names)

    shutil.copytree(library, directory / library.relative_to(prefix), symlinks=True, ignore=left_out)


def _leads_into(link: Path, directory: Path) -> bool:
    target = link.resolve()
    return target.exists() and target.is_relative_to(directory.resolve())


def compare_trees(one: Path, other: Path) -> None:
    """Fails unless they hold the same bytes under the same names."""
    run("diff", "-rq", one, other)


def compare_files(one: Path, other: Path, names: list[str]) -> None:
    for name in names:
        if (one / name).read_bytes() != (other / name).read_bytes():
            raise Failed(f"{one / name} is not {other / name}")


def _files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file() and not path.is_symlink()]
