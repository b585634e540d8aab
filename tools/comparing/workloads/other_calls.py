"""Programs that do not read(2): a map of the file, sendfile, copy_file_range; cold and warm."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from tools.benchmarks.workbench import CONTENT, MIB, one_blob, sha256
from tools.comparing.comparison import Comparison, Way
from tools.comparing.fleet import Fleet, fleet
from tools.comparing.peers.everyone import LOADING, LOCAL
from tools.comparing.results import Result

NAME = "calls"
KINDS = {"mmap": "mapped", "sendfile": "sent", "copy_file_range": "copied"}


def other_calls(comparison: Comparison) -> list[Result]:
    size = comparison.size(512 * MIB, 64 * MIB)
    with comparison.bench.source(one_blob(size)) as share, comparison.bench.place() as place:
        digests = {CONTENT: sha256(share / CONTENT)}
        with fleet(comparison, share, digests, [*LOADING, *LOCAL]) as mounts:
            ways: dict[Way, Callable[[], float]] = {}
            for call in KINDS:
                for name in mounts:
                    if name != "ext4":
                        ways[f"{call}, cold", name] = partial(_cold, mounts, name, call, place)
                for name in mounts:
                    ways[f"{call}, warm", name] = partial(_read, mounts, name, call, place)
            return comparison.alternate(NAME, ways)


def _cold(mounts: Fleet, name: str, call: str, place: Path) -> float:
    mounts.bring(name, CONTENT)
    mounts.forget(name, CONTENT)
    return _read(mounts, name, call, place, mounts.source.digests[CONTENT])


def _read(mounts: Fleet, name: str, call: str, place: Path, expected: str = "") -> float:
    target = [place / "copy"] if call == "copy_file_range" else []
    return mounts.read(name, KINDS[call], CONTENT, *target, expected=expected).seconds
