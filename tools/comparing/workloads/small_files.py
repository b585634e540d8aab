"""Two thousand small files in one directory: open, read, close of each; stat of each; lists of them."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tools.benchmarks.running import run
from tools.benchmarks.workbench import KIB, write_noise
from tools.comparing.comparison import Comparison, Way
from tools.comparing.fleet import Fleet, fleet
from tools.comparing.peers.downloads import Curl
from tools.comparing.peers.everyone import LOADING, LOCAL
from tools.comparing.reading import SECONDS, read
from tools.comparing.results import Result

NAME = "small"
DIRECTORY = "small"
SIZE = 4 * KIB
READERS = 16
SLOW = {"httpdirfs": 20}
"""Who reads only one in so many of the files: it makes its cache for a tenth of a second each."""
MISSING, MISSING_16, COLD, WARM = "missing", f"missing, {READERS} readers", "here, cold", "warm"
STAT, LIST, FIND = "stat after ls", "ls -l, cold", "find, cold"


def write_small(directory: Path, files: int) -> None:
    (directory / DIRECTORY).mkdir()
    for number in range(files):
        write_noise(directory / DIRECTORY / str(number), SIZE, seed=number)


def small_files(comparison: Comparison) -> list[Result]:
    files = comparison.size(2000, 100)
    with (
        comparison.bench.source(lambda mountpoint: write_small(mountpoint, files)) as share,
        fleet(comparison, share, {}, [*LOADING, *LOCAL]) as mounts,
    ):
        ways: dict[Way, Callable[[], float]] = {}
        for name in mounts.named(LOADING):
            few = part(name, files)
            ways[MISSING, name] = _for_each(few, partial(_missing, mounts, name, few))
            ways[MISSING_16, name] = _for_each(few, partial(_missing_16, mounts, name, few))
        if comparison.has(Curl()):
            ways[MISSING, "curl"] = _for_each(files, partial(_curl, mounts, comparison, files))
        for name in mounts:
            few = part(name, files)
            if name != "ext4":
                ways[COLD, name] = _for_each(few, partial(_cold, mounts, name, few))
            ways[WARM, name] = _for_each(few, partial(_read, mounts, name, few))
            ways[STAT, name] = _for_each(files, partial(_stat, mounts, name))
            ways[LIST, name] = _for_each(files, partial(_listed, mounts, name, ("ls", "-l")))
            ways[FIND, name] = _for_each(files, partial(_listed, mounts, name, ("find",)))
        return comparison.alternate(NAME, ways, "us")


def part(name: str, files: int) -> int:
    """How many of them a peer reads."""
    return max(1, files // SLOW.get(name, 1))


def _for_each(files: int, once: Callable[[], float]) -> Callable[[], float]:
    """Microseconds a file."""
    return lambda: once() / files * 1e6


def _read(mounts: Fleet, name: str, files: int) -> float:
    return mounts.read(name, "small", DIRECTORY, str(files), expected=_right(mounts, files)).seconds


def _right(mounts: Fleet, files: int) -> str:
    """The digest of that many."""
    return read("small", mounts.source.share / DIRECTORY, str(files), digest=True).digest


def _missing(mounts: Fleet, name: str, files: int) -> float:
    mounts.fresh(name)
    return _read(mounts, name, files)


def _missing_16(mounts: Fleet, name: str, files: int) -> float:
    mounts.fresh(name)
    way = ("small", str(READERS), str(files))
    return mounts.read(name, "parallel", DIRECTORY, *way, expected=_right(mounts, files)).seconds


def _cold(mounts: Fleet, name: str, files: int) -> float:
    """After a new mount, so that the kernel knows no names either."""
    mounts.remounted(name)
    return _read(mounts, name, files)


def _stat(mounts: Fleet, name: str) -> float:
    return mounts.read(name, "stated", DIRECTORY).seconds


def _listed(mounts: Fleet, name: str, command: Sequence[str]) -> float:
    """The first time after a new mount."""
    directory = mounts.remounted(name).path / DIRECTORY
    return run(*command, directory, discard=True, limit=SECONDS).seconds


def _curl(mounts: Fleet, comparison: Comparison, files: int) -> float:
    """Told all the names; one process and one connection for them: the floor."""
    with comparison.bench.place() as place:
        names = f"{mounts.source.url}{DIRECTORY}/[0-{files - 1}]"
        return run("curl", "-sSf", "-o", place / "#1", names, limit=SECONDS).seconds
