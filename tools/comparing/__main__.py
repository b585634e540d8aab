"""``tools/bench``: runs the workloads that are named, or all, and writes what they found."""

import argparse
import signal
import tempfile
import time
import traceback
from pathlib import Path

from tools.benchmarks.__main__ import end
from tools.benchmarks.report import say
from tools.benchmarks.workbench import Workbench, remove
from tools.comparing.catalogue import WORKLOADS
from tools.comparing.comparison import Comparison, in_words
from tools.comparing.results import Result

RUNS, QUICK_RUNS = 3, 1


def main() -> None:
    given = _arguments()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    folder = Path(tempfile.mkdtemp(prefix="blobfs-compare."))
    try:
        bench = Workbench(folder, given.runs or (QUICK_RUNS if given.quick else RUNS), given.quick)
        results = [
            result for name in given.workloads or WORKLOADS for result in measure(name, Comparison(bench))
        ]
    finally:
        remove(folder)
    for result in results:
        say(result)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools/bench", description="Compares blobfs with what people use.")
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=", ".join(WORKLOADS))
    parser.add_argument("--runs", type=int, help=f"turns of each comparison; {RUNS} if not given")
    parser.add_argument("--quick", action="store_true", help="small, one turn, elsewhere: whether it works")
    parser.add_argument("--out", type=Path, help="where the results are written; docs/bench if not given")
    given = parser.parse_args()
    if unknown := set(given.workloads) - WORKLOADS.keys():
        parser.error(f"no such workload: {', '.join(sorted(unknown))}; there are {', '.join(WORKLOADS)}")
    return given


def measure(name: str, comparison: Comparison) -> list[Result]:
    """What went wrong is said, and the next one can go on."""
    workload = WORKLOADS[name]
    say(f"\n== {name}: {workload.title}")
    began = time.monotonic()
    try:
        return workload.measure(comparison)
    except Exception as failure:
        say(traceback.format_exc())
        return [Result(name, "all", "blobfs", "s", (), in_words(failure))]
    finally:
        say(f"({time.monotonic() - began:.0f} s)")


if __name__ == "__main__":
    main()
