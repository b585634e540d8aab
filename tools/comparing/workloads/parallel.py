"""Many readers at once: of one missing file, whole; of one file each that is here."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from tools.benchmarks.usage import wait_idle
from tools.benchmarks.workbench import CONTENT, MIB, counted, sha256, write_noise
from tools.comparing.comparison import Comparison, Noted, Way
from tools.comparing.fleet import Fleet, fleet
from tools.comparing.peers.everyone import LOADING, LOCAL
from tools.comparing.results import Result

NAME = "parallel"
OWN = "own"
"""The directory of the files that are read by one reader each."""
READERS, QUICK_READERS = (1, 4, 16, 64), (16,)
OWN_SIZE = 8 * MIB


def parallel(comparison: Comparison) -> list[Result]:
    readers = QUICK_READERS if comparison.quick else READERS
    size, own = comparison.size(256 * MIB, 16 * MIB), comparison.size(OWN_SIZE, OWN_SIZE // 8)
    noted = Noted(NAME)
    with (
        comparison.bench.source(partial(_write, size, own, max(readers))) as share,
        fleet(comparison, share, {CONTENT: sha256(share / CONTENT)}, [*LOADING, *LOCAL]) as mounts,
    ):
        ways: dict[Way, Callable[[], float]] = {}
        for count in readers:
            case = f"one file, missing, {count}"
            for name in mounts.named(LOADING):
                ways[case, name] = partial(_missing, mounts, name, case, count, noted)
        for count in readers:
            for name in mounts:
                ways[f"a file each, cold, {count}", name] = partial(_cold, mounts, name, count)
        return [*comparison.alternate(NAME, ways), *noted.results()]


def _write(size: int, own: int, count: int, directory: Path) -> None:
    write_noise(directory / CONTENT, size)
    (directory / OWN).mkdir()
    for number in range(count):
        write_noise(directory / OWN / str(number), own, seed=number)


def _missing(mounts: Fleet, name: str, case: str, count: int, noted: Noted) -> float:
    mounted = mounts.fresh(name)
    mounts.source.server.forget_requests()
    seconds = mounts.read(
        name, "parallel", CONTENT, "same", str(count), expected=mounts.source.digests[CONTENT]
    ).seconds
    for pid in mounted.pids:
        wait_idle(pid)
    noted.note(case, name, counted(mounts.source.server)["MB"], "MB")
    return seconds


def _cold(mounts: Fleet, name: str, count: int) -> float:
    """They are brought by reading them once; then the kernel forgets them."""
    files = [f"{OWN}/{number}" for number in range(count)]
    mounts.read(name, "parallel", OWN, OWN, str(count))
    mounts.forget(name, *files)
    return mounts.read(name, "parallel", OWN, OWN, str(count)).seconds
