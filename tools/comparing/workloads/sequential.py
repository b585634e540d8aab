"""One big file from its beginning to its end: missing, here in several degrees, warm."""

from collections.abc import Callable
from functools import partial

from tools.benchmarks.workbench import CONTENT, GIB, MIB, one_blob, sha256
from tools.comparing.comparison import Comparison, Way
from tools.comparing.fleet import Fleet, fleet
from tools.comparing.peers.everyone import LOADING, LOCAL
from tools.comparing.reading import flush_and_drop
from tools.comparing.results import Result

MISSING, NOWHERE, COLD, WARM = "missing", "here, nothing in memory", "here, cold", "warm"


def sequential(comparison: Comparison) -> list[Result]:
    size = comparison.size(GIB, 128 * MIB)
    with comparison.bench.source(one_blob(size)) as share:
        digests = {CONTENT: sha256(share / CONTENT)}
        with fleet(comparison, share, digests, [*LOADING, *LOCAL]) as mounts:
            loading = [peer.name for peer in LOADING if peer.name in mounts]
            ways: dict[Way, Callable[[], float]] = {}
            ways |= {(MISSING, name): partial(_missing, mounts, name) for name in loading}
            ways |= {(NOWHERE, name): partial(_nowhere, mounts, name) for name in mounts}
            ways |= {(COLD, name): partial(_cold, mounts, name) for name in mounts if name != "ext4"}
            ways |= {(WARM, name): partial(_warm, mounts, name) for name in mounts}
            return comparison.alternate("sequential", ways)


def _missing(mounts: Fleet, name: str) -> float:
    mounts.fresh(name)
    return mounts.read(name, "sequential", CONTENT, expected=mounts.source.digests[CONTENT]).seconds


def _nowhere(mounts: Fleet, name: str) -> float:
    """Neither the mount's pages nor those of the files behind it."""
    mounts[name].forget(CONTENT)
    flush_and_drop(mounts[name].backing)
    return mounts.read(name, "sequential", CONTENT).seconds


def _cold(mounts: Fleet, name: str) -> float:
    """The mount's pages are gone; the files behind it are in memory."""
    mounts[name].forget(CONTENT)
    return mounts.read(name, "sequential", CONTENT).seconds


def _warm(mounts: Fleet, name: str) -> float:
    return mounts.read(name, "sequential", CONTENT).seconds
