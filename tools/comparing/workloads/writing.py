"""Writing: one big file by cp, many small ones by cp -r and tar; until fsync says so; until all is sealed.

Every turn writes into an empty place, for what a store has already it need not write again.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tools.benchmarks.running import Word, run
from tools.benchmarks.workbench import CONTENT, GIB, MIB, write_noise
from tools.comparing.comparison import Comparison, Noted, Way, WrongBytes
from tools.comparing.peers.everyone import WRITERS
from tools.comparing.peers.peer import Mounted, Writer
from tools.comparing.results import Result
from tools.comparing.workloads.small_files import DIRECTORY, write_small

NAME = "write"
BIG, COPIED, UNPACKED = "cp of a big file", "cp -r of small files", "tar of small files"
FSYNC, SEALED = "with fsync", "until sealed"
HASHED = "cp + sha256sum"
SECONDS = 120.0


def writing(comparison: Comparison) -> list[Result]:
    size, files = comparison.size(GIB, 64 * MIB), comparison.size(2000, 100)
    noted = Noted(NAME)
    with comparison.bench.place() as place:
        write_noise(place / CONTENT, size)
        write_small(place, files)
        commands: dict[str, Callable[[Path], Sequence[Word]]] = {
            BIG: lambda target: ("cp", place / CONTENT, target),
            COPIED: lambda target: ("cp", "-r", place / DIRECTORY, target),
            UNPACKED: lambda target: ("sh", "-c", 'tar c -C "$1" "$2" | tar x -C "$3"',
                                      "sh", place, DIRECTORY, target),
        }  # fmt: skip
        ways: dict[Way, Callable[[], float]] = {}
        for case, command in commands.items():
            written = CONTENT if case == BIG else DIRECTORY
            for writer in filter(comparison.has, WRITERS):
                ways[case, writer.name] = partial(
                    _write, comparison, writer, case, command, place / written, noted
                )
        ways[BIG, HASHED] = partial(_copy_and_hash, comparison, place / CONTENT)
        return [*comparison.alternate(NAME, ways), *noted.results()]


def _write(
    comparison: Comparison,
    writer: Writer,
    case: str,
    command: Callable[[Path], Sequence[Word]],
    original: Path,
    noted: Noted,
) -> float:
    """Seconds of the command alone; the later moments are noted."""
    with comparison.bench.place() as place, writer.mount_writable(place) as mounted:
        _rest(comparison)
        began = time.perf_counter()
        seconds = run(*command(mounted.path), limit=SECONDS).seconds
        _fsync(mounted, original.name)
        noted.note(f"{case}, {FSYNC}", writer.name, time.perf_counter() - began)
        if writer.name == "blobfs":
            mounted.settle()
            noted.note(f"{case}, {SEALED}", writer.name, time.perf_counter() - began)
        _compare(original, mounted.path / original.name)
        return seconds


def _fsync(mounted: Mounted, name: str) -> None:
    """Of each file; sync(1) does that when it is given files."""
    run("find", mounted.path / name, "-type", "f", "-exec", "sync", "{}", "+", limit=SECONDS)


def _rest(comparison: Comparison) -> None:
    """What was written before is on the disk, and costs nobody anything any more."""
    run("sync", "-f", comparison.bench.folder, limit=SECONDS)


def _compare(original: Path, copy: Path) -> None:
    if run("diff", "-rq", original, copy, limit=SECONDS, may_fail=True).code:
        raise WrongBytes(original.name)


def _copy_and_hash(comparison: Comparison, original: Path) -> float:
    """On the disk itself: what somebody does who wants to know later whether it is still right."""
    with comparison.bench.place() as place:
        _rest(comparison)
        copied = run("cp", original, place, limit=SECONDS).seconds
        return copied + run("sha256sum", place / original.name, limit=SECONDS).seconds
