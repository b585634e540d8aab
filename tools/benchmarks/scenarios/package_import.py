"""Python started twice from a library that is a package on another machine, and imports what a client needs.

The whole prefix comes from there, from the first codec on. Beside it the same from ``rclone mount``, from an
archive that is loaded and unpacked before, and from the plain directory, which is the limit.
"""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.servers.nginx import Nginx
from tools.benchmarks.measuring import SECONDS, Figures, Runs, alternate, median, ratio, spread
from tools.benchmarks.node import MeasuredNode
from tools.benchmarks.packing import (
    ARCHIVE,
    FAR,
    LOOPBACK,
    SYSTEM_PYTHON,
    TREE,
    Network,
    Packed,
    compare_files,
)
from tools.benchmarks.rclone import LISTING, PROGRAM, rclone_mount
from tools.benchmarks.report import Table, say
from tools.benchmarks.running import run
from tools.benchmarks.usage import wait_idle
from tools.benchmarks.workbench import MB, Workbench, counted

SECOND = "second"
IMPORTING = """
import json, http.client, asyncio
import os, sys
modules = [module for module in sys.modules.values() if getattr(module, "__file__", None)]
strays = [module.__file__ for module in modules if not module.__file__.startswith(sys.prefix + "/")]
if strays or {json, http.client, asyncio} - set(modules):
    sys.exit(f"imported from elsewhere: {strays}")
print(json.dumps({"prefix": sys.prefix, "read": [
    os.path.relpath(getattr(module, "__cached__", None) or module.__file__, sys.prefix) for module in modules
]}))
"""
"""Prints what it has read. What Python imports before the first line stands in ``sys.modules`` too."""
BLOBFS, RCLONE, CURL, PLAIN = "blobfs", "rclone mount", "curl | tar x", "plain directory"


def package_import(bench: Workbench, library: Packed) -> None:
    say(f"import json, http.client, asyncio from {library}; {bench.runs} turns")
    for network in (FAR,) if bench.quick else (LOOPBACK, FAR):
        ways: dict[str, Callable[[], Figures]] = {
            PLAIN: partial(_plain, library),
            CURL: partial(_curl, bench, library, network),
            BLOBFS: partial(_blobfs, bench, library, network),
        }
        if shutil.which(PROGRAM) is not None:
            ways[RCLONE] = partial(_rclone, bench, library, network)
        _show(network, library, alternate(bench.runs, ways))


def _start(prefix: Path, tree: Path) -> float:
    """How long it takes. What it has read is what is in the tree, or this fails."""
    home = ("env", "-u", "PYTHONPATH", f"PYTHONHOME={prefix}")
    ended = run(*home, SYSTEM_PYTHON, "-S", "-s", "-B", "-c", IMPORTING)
    found = json.loads(ended.said)
    if found["prefix"] != str(prefix):
        raise RuntimeError(f"Python was started from {found['prefix']}")
    compare_files(prefix, tree, found["read"])
    return ended.seconds


def _plain(library: Packed) -> Figures:
    return {SECONDS: _start(library.tree, library.tree), SECOND: _start(library.tree, library.tree)}


def _blobfs(bench: Workbench, library: Packed, network: Network) -> Figures:
    with network.serve(library.share) as (server, url), bench.node([url]) as node:
        prefix = node.path(f".blobfs/packages/{library.package}")
        first = _start(prefix, library.tree)
        wait_idle(node.pid)
        figures = {
            SECONDS: first,
            **counted(server),
            "files": _loaded_blobs(node) - 1,
        }  # without the manifest
        return {**figures, SECOND: _start(prefix, library.tree)}


def _loaded_blobs(node: MeasuredNode) -> int:
    return sum(1 for _ in (node.share / ".blobfs" / "blobs").iterdir())


def _rclone(bench: Workbench, library: Packed, network: Network) -> Figures:
    with (
        bench.place() as place,
        network.serve(library.plain, LISTING) as (server, url),
        rclone_mount(url, place) as mount,
    ):
        first = _start(mount.path / TREE, library.tree)
        figures = {SECONDS: first, **counted(server), "files": _files_sent(server)}
        return {**figures, SECOND: _start(mount.path / TREE, library.tree)}


def _files_sent(server: Nginx) -> int:
    asked = (request for request in server.requests() if request.method == "GET")
    return len({request.uri for request in asked if not request.uri.endswith("/")})


def _curl(bench: Workbench, library: Packed, network: Network) -> Figures:
    with bench.place() as place, network.serve(library.plain) as (server, url):
        command = 'curl -sS "$1" | tar -xf - -C "$2"'
        seconds = run("sh", "-c", command, "sh", f"{url}{ARCHIVE}", place).seconds
        first = seconds + _start(place, library.tree)
        figures = {SECONDS: first, **counted(server), "files": library.files}
        return {**figures, SECOND: _start(place, library.tree)}


def _show(network: Network, library: Packed, found: Runs) -> None:
    table = Table(network.title, "s", "least–most", f"time / {CURL}", "second start s", "requests",
                  f"files of {library.files:,}", f"MB of {library.size / MB:.1f}")  # fmt: skip
    for way, figures in found.items():
        counts = [
            median(figures, name) if name in figures[0] else None for name in ("requests", "files", "MB")
        ]
        times = (median(figures), spread(figures), ratio(figures, found[CURL]), median(figures, SECOND))
        table.add(way, *times, *counts)
    say(table)
    say()
