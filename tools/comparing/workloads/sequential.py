"""One big file from its beginning to its end: missing, here in several degrees, warm."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from tools.benchmarks.workbench import CONTENT, GIB, MIB, one_blob, sha256
from tools.comparing.comparison import Comparison, Way, WrongBytes
from tools.comparing.fleet import Fleet, fleet
from tools.comparing.peers.downloads import DOWNLOADS, Download
from tools.comparing.peers.everyone import LOADING, LOCAL
from tools.comparing.reading import flush_and_drop
from tools.comparing.results import Result

NAME = "sequential"
MISSING, NOWHERE, COLD, WARM = "missing", "here, nothing in memory", "here, cold", "warm"


def sequential(comparison: Comparison) -> list[Result]:
    size = comparison.size(GIB, 64 * MIB)
    with comparison.bench.source(one_blob(size)) as share, comparison.bench.place() as place:
        digests = {CONTENT: sha256(share / CONTENT)}
        with fleet(comparison, share, digests, [*LOADING, *LOCAL]) as mounts:
            downloads = list(filter(comparison.has, DOWNLOADS))
            ways: dict[Way, Callable[[], float]] = {}
            ways |= {(MISSING, name): partial(_missing, mounts, name) for name in mounts.named(LOADING)}
            ways |= {(MISSING, each.name): partial(_download, mounts, place, each) for each in downloads}
            ways |= {(NOWHERE, name): partial(_nowhere, mounts, name) for name in mounts}
            ways |= {(COLD, name): partial(_cold, mounts, name) for name in mounts if name != "ext4"}
            ways |= {(WARM, name): partial(_warm, mounts, name) for name in mounts}
            return comparison.alternate(NAME, ways)


def _missing(mounts: Fleet, name: str) -> float:
    mounts.fresh(name)
    return mounts.read(name, "sequential", CONTENT, expected=mounts.source.digests[CONTENT]).seconds


def _download(mounts: Fleet, place: Path, download: Download) -> float:
    target = place / download.name
    target.unlink(missing_ok=True)
    seconds = download.download(f"{mounts.source.url}{CONTENT}", target)
    if sha256(target) != mounts.source.digests[CONTENT]:
        raise WrongBytes(CONTENT)
    return seconds


def _nowhere(mounts: Fleet, name: str) -> float:
    """Neither the mount's pages nor those of the files behind it."""
    mounts.forget(name, CONTENT)
    flush_and_drop(mounts[name].backing)
    return mounts.read(name, "sequential", CONTENT).seconds


def _cold(mounts: Fleet, name: str) -> float:
    """The mount's pages are gone; the files behind it are in memory."""
    mounts.forget(name, CONTENT)
    return mounts.read(name, "sequential", CONTENT, expected=mounts.source.digests[CONTENT]).seconds


def _warm(mounts: Fleet, name: str) -> float:
    return mounts.read(name, "sequential", CONTENT).seconds
