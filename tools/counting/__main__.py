"""``tools/bench-counts``: counts what every operation costs and prints it as Markdown."""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence, Set
from pathlib import Path

from tools.benchmarks.__main__ import commit
from tools.benchmarks.report import say
from tools.benchmarks.workbench import Workbench, remove
from tools.counting.counted import Counted, Key, read, save
from tools.counting.operations import Plan
from tools.counting.peers import Counting, merge
from tools.counting.table import markdown
from tools.counting.watching import describe_machine

FILES, QUICK_FILES = 48, 12
"""Each operation is done to so many files; a deep path to a quarter of them."""
PEERS = {"blobfs": "strace", "bindfs": "bindfs", "rclone": "rclone"}
"""With the program that must be there for it."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="tools/bench-counts", description=__doc__)
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"{', '.join(PEERS)}; all if none is named")
    parser.add_argument("--quick", action="store_true", help="fewer files, no system calls")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keeps the counts there")
    parser.add_argument(
        "--before", type=Path, metavar="FILE", help="counts that were kept: shows what changed"
    )
    given = parser.parse_args()
    if unknown := set(given.peers) - PEERS.keys():
        parser.error(f"no such peer: {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    wanted = there(given.peers or list(PEERS))
    folder = Path(tempfile.mkdtemp(prefix="blobfs-counts."))
    try:
        found = count_all(Workbench(folder, 1, given.quick), wanted, with_calls=not given.quick)
    finally:
        remove(folder)
    about = {"blobfs": commit(), "machine": describe_machine(), "at": time.strftime("%Y-%m-%d %H:%M")}
    if given.json:
        save(given.json, about, found)
    say(", ".join(f"{name}: {value}" for name, value in about.items()) + "\n")
    say(markdown(found, read(given.before) if given.before else None))
    if failed := [each for each in found if each.failure]:
        sys.exit("\n".join(f"{each.peer}, {each.operation}, {each.state}: {each.failure}" for each in failed))


def count_all(
    bench: Workbench, peers: Sequence[str], *, with_calls: bool, only: Set[Key] | None = None
) -> list[Counted]:
    """`only`: the operations that are counted; the others are done, for the state that they leave."""
    plan = Plan(bench.size(FILES, QUICK_FILES))
    passes: list[list[Counted]] = []
    with bench.source(plan.write_source) as share:
        for calls in [False, True] if with_calls else [False]:
            counting = Counting(bench, plan, share, calls, only).all()
            passes.append([each for peer in peers for each in counting[peer]()])
    return merge(passes[0], passes[-1])


def there(peers: Sequence[str] = tuple(PEERS)) -> list[str]:
    """Those of them that are installed."""
    missing = [peer for peer in peers if shutil.which(PEERS[peer]) is None]
    for peer in missing:
        say(f"{PEERS[peer]} is not installed: {peer} is left out")
    return [peer for peer in peers if peer not in missing]


if __name__ == "__main__":
    main()
