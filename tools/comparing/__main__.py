"""``tools/bench``: runs the workloads that are named, or all, and writes what they found."""

import argparse
import os
import platform
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from tests.structure import ROOT
from tools.benchmarks.__main__ import commit, end
from tools.benchmarks.report import say
from tools.benchmarks.workbench import GIB, Workbench, remove
from tools.comparing.catalogue import WORKLOADS
from tools.comparing.comparison import Comparison, in_words
from tools.comparing.goals import OURS
from tools.comparing.peers.everyone import EVERYONE
from tools.comparing.report.machine import dump
from tools.comparing.report.markdown import PICTURE, page
from tools.comparing.report.panels import panels
from tools.comparing.report.picture import picture
from tools.comparing.results import Findings, PeerNote, Result

RUNS, QUICK_RUNS = 3, 1
OUT = ROOT / "docs" / "bench"


def main() -> None:
    given = _arguments()
    # A shell's background job ignores Ctrl-C, and would hand that on to the programs that are to feel it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    out = given.out or (Path(tempfile.mkdtemp(prefix="blobfs-bench.")) if _is_partial(given) else OUT)
    out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="blobfs-compare."))
    runs = given.runs or (QUICK_RUNS if given.quick else RUNS)
    comparison = Comparison(Workbench(folder, runs, given.quick), given.peers)
    results: list[Result] = []
    try:
        for name in given.workloads or WORKLOADS:
            results += measure(name, comparison)
            write(findings(comparison, results), out)
    finally:
        remove(folder)
    say(f"\n{out}/results.md, results.json, {PICTURE}")


def _is_partial(given: argparse.Namespace) -> bool:
    """Whether it is no replacement for the figures that the documentation shows."""
    return bool(given.quick or given.workloads or given.peers)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools/bench", description="Compares blobfs with what people use.")
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=", ".join(WORKLOADS))
    parser.add_argument("--runs", type=int, help=f"turns of each comparison; {RUNS} if not given")
    parser.add_argument("--quick", action="store_true", help="small, one turn: whether it works")
    peers = [peer.name for peer in EVERYONE]
    parser.add_argument("--peers", default="", metavar="NAME,...", help=f"only these of {', '.join(peers)}")
    where = "where the results go; if not given, docs/bench for all of it, and a temporary place for less"
    parser.add_argument("--out", type=Path, help=where)
    given = parser.parse_args()
    if unknown := set(given.workloads) - WORKLOADS.keys():
        parser.error(f"no such workload: {', '.join(sorted(unknown))}; there are {', '.join(WORKLOADS)}")
    given.peers = frozenset(filter(None, given.peers.split(",")))
    if unknown := given.peers - set(peers):
        parser.error(f"no such peer: {', '.join(sorted(unknown))}; there are {', '.join(peers)}")
    return given


def measure(name: str, comparison: Comparison) -> list[Result]:
    """What went wrong is said, and the next one can go on."""
    workload = WORKLOADS[name]
    say(f"\n== {name}: {workload.title}")
    free = shutil.disk_usage(comparison.bench.folder).free
    if not comparison.quick and free < workload.disk:
        why = f"left out: it needs {workload.disk / GIB:.0f} GiB, {free / GIB:.0f} are free"
        say(why)
        return [Result(name, "all", OURS, "s", (), why)]
    began = time.monotonic()
    try:
        return workload.measure(comparison)
    except Exception as failure:
        say(traceback.format_exc())
        return [Result(name, "all", OURS, "s", (), in_words(failure))]
    finally:
        say(f"({time.monotonic() - began:.0f} s)")


def findings(comparison: Comparison, results: Sequence[Result]) -> Findings:
    wanted = filter(comparison.wants, EVERYONE)
    return Findings(
        blobfs=commit(),
        when=time.strftime("%Y-%m-%d"),
        machine=describe_machine(),
        quick=comparison.quick,
        runs=comparison.runs,
        peers=tuple(PeerNote(each.name, each.version(), each.options) for each in wanted),
        results=tuple(results),
    )


def describe_machine() -> str:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
    cpu = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
         if line.startswith("model name")), platform.machine())  # fmt: skip
    return (
        f"{os.cpu_count()} cores ({cpu}), {memory:.0f} GiB of memory, Linux {platform.release()}, "
        f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )


def write(found: Findings, out: Path) -> None:
    """Everything so far: a run that is ended early has not been for nothing."""
    titles = {name: workload.title for name, workload in WORKLOADS.items()}
    (out / "results.md").write_text(page(found, titles), "utf-8")
    (out / "results.json").write_text(dump(found), "utf-8")
    if shown := panels(found.results):
        try:
            (out / PICTURE).write_text(picture(shown, quick=found.quick), "utf-8")
        except ImportError:
            say(f"no {PICTURE}: matplotlib is not installed")


if __name__ == "__main__":
    main()
