"""Programs as people run them: Python from its library in the mount, grep over a tree, a model by mmap.

What a program says is compared with what it says of the same files on the disk: wrong bytes are found, the
clock of a program that runs to its end is all that is measured.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tools.benchmarks.packing import SYSTEM_PYTHON, write_library
from tools.benchmarks.running import Word, run
from tools.benchmarks.workbench import GIB, MIB, Workbench, write_noise
from tools.comparing.comparison import Comparison, Way, WrongBytes
from tools.comparing.fleet import Fleet, fleet
from tools.comparing.peers.everyone import LOADING, LOCAL
from tools.comparing.reading import program
from tools.comparing.results import Result

MISSING, COLD, WARM = "missing", "here, cold", "warm"
PEERS = ("blobfs", "rclone", "ext4", "bindfs")
TREE, MODEL = "python", "model"
LIMIT = 120.0
"""Seconds; the slowest takes ten."""
PACKAGES = (
    "asyncio collections concurrent.futures ctypes email encodings html http importlib json logging urllib"
)
IMPORTING = f"""
import contextlib, importlib, os, pkgutil, sys
for name in {PACKAGES.split()}:
    package = importlib.import_module(name)
    for each in pkgutil.iter_modules(package.__path__, name + "."):
        with contextlib.suppress(ImportError):  # what is for another system
            importlib.import_module(each.name)
files = [module.__file__ for module in list(sys.modules.values()) if getattr(module, "__file__", None)]
strays = [file for file in files if not file.startswith(sys.prefix + "/")]
if strays:
    sys.exit(f"imported from elsewhere: {{strays}}")
print(len(files))
"""
"""Imports some 250 modules, half of them from one big package, and says how many."""


class Said(NamedTuple):
    seconds: float
    answer: str


@dataclass(frozen=True, slots=True)
class Program:
    name: str
    go: Callable[[Path], Said]
    """Runs it over the directory that everything is in."""


def programs(comparison: Comparison) -> list[Result]:
    wanted = [peer for peer in (*LOADING, *LOCAL) if peer.name in PEERS]
    with (
        comparison.bench.source(partial(_write, comparison.bench)) as share,
        fleet(comparison, share, {}, wanted) as mounts,
    ):
        ways: dict[Way, Callable[[], float]] = {}
        for each in PROGRAMS:
            expected = each.go(share).answer
            loading = [peer.name for peer in LOADING if peer.name in PEERS and peer.name in list(mounts)]
            for name in loading:
                ways[f"{each.name}: {MISSING}", name] = partial(_missing, mounts, name, each, expected)
            for name in mounts:
                if name != "ext4":  # it has no second cache that could be cold
                    ways[f"{each.name}: {COLD}", name] = partial(_cold, mounts, name, each, expected)
            for name in mounts:
                ways[f"{each.name}: {WARM}", name] = partial(_warm, mounts, name, each, expected)
        return comparison.alternate("programs", ways)


def _write(bench: Workbench, mountpoint: Path) -> None:
    with bench.place() as place:
        write_library(bench, place)
        shutil.copytree(place, mountpoint / TREE)  # symbolic links as the files they mean: http has none
    write_noise(mountpoint / MODEL, bench.size(GIB, 64 * MIB))


def _missing(mounts: Fleet, name: str, each: Program, expected: str) -> float:
    mounts.fresh(name)
    return _warm(mounts, name, each, expected)


def _cold(mounts: Fleet, name: str, each: Program, expected: str) -> float:
    mounts.remounted(name)
    return _warm(mounts, name, each, expected)


def _warm(mounts: Fleet, name: str, each: Program, expected: str) -> float:
    said = each.go(mounts[name].path)
    if said.answer != expected:
        raise WrongBytes(f"{each.name} says {said.answer!r:.60} instead of {expected!r:.60}")
    return said.seconds


def _import(directory: Path) -> Said:
    home = ("env", "-u", "PYTHONPATH", f"PYTHONHOME={directory / TREE}")
    return _run(*home, SYSTEM_PYTHON, "-S", "-s", "-B", "-c", IMPORTING)


def _grep(directory: Path) -> Said:
    return _run("sh", "-c", 'grep -rhI "return self" "$0" | wc', directory / TREE)


def _run(*command: Word) -> Said:
    ended = run(*command, limit=LIMIT)
    return Said(ended.seconds, ended.said)


def _model(directory: Path) -> Said:
    """It times itself: the start of an interpreter is not what a model takes."""
    said = json.loads(run(*program("model", directory / MODEL), limit=LIMIT).said)
    return Said(float(said["seconds"]), str(said["sum"]))


PROGRAMS = (
    Program("python imports its library", _import),
    Program("grep -r over its library", _grep),
    Program("a model by mmap, summed", _model),
)
