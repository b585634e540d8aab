"""``tools/bench-loads``: runs the scenarios that are named, or all, and says on what."""

import argparse
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tests.structure import ROOT
from tools.benchmarks.report import say
from tools.benchmarks.running import version_of
from tools.benchmarks.scenarios.dead import dead
from tools.benchmarks.scenarios.dropping import dropping
from tools.benchmarks.scenarios.flipping import flipping
from tools.benchmarks.scenarios.listing import listing
from tools.benchmarks.scenarios.memory import memory
from tools.benchmarks.scenarios.packages import packages
from tools.benchmarks.scenarios.random_reads import random_reads
from tools.benchmarks.scenarios.resume import resume
from tools.benchmarks.scenarios.sequential import sequential
from tools.benchmarks.scenarios.small import small
from tools.benchmarks.scenarios.stalling import stalling
from tools.benchmarks.scenarios.striping import striping
from tools.benchmarks.scenarios.stuck import stuck
from tools.benchmarks.workbench import GIB, Workbench, remove


@dataclass(frozen=True, slots=True)
class Scenario:
    measure: Callable[[Workbench], None]
    disk: int = 4 * GIB
    """Bytes that must be free."""
    quick_disk: int = 2 * GIB


SCENARIOS = {
    "sequential": Scenario(sequential),
    "striping": Scenario(striping),
    "stalling": Scenario(stalling),
    "flipping": Scenario(flipping),
    "dropping": Scenario(dropping),
    "dead": Scenario(dead),
    "stuck": Scenario(stuck),
    "resume": Scenario(resume),
    "random": Scenario(random_reads),
    "small": Scenario(small),
    "packages": Scenario(packages),
    "listing": Scenario(listing, disk=2 * GIB, quick_disk=GIB),
    "memory": Scenario(memory, disk=14 * GIB, quick_disk=4 * GIB),
}
RUNS, QUICK_RUNS = 5, 2
OPTIONAL = {"rclone": ("version", "its columns are left out")}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="tools/bench-loads", description="Measures how blobfs loads (docs/benchmarks.md)."
    )
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--runs", type=int, help=f"turns of each comparison; {RUNS} if not given")
    parser.add_argument(
        "--quick", action="store_true", help=f"smaller blobs, {QUICK_RUNS} turns: whether it works"
    )
    given = parser.parse_args()
    if unknown := set(given.scenarios) - SCENARIOS.keys():
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    # A shell's background job ignores Ctrl-C, and would hand that on to the programs that are to feel it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    describe_machine()
    folder = Path(tempfile.mkdtemp(prefix="blobfs-bench."))
    try:
        bench = Workbench(folder, given.runs or (QUICK_RUNS if given.quick else RUNS), given.quick)
        failed = [name for name in given.scenarios or SCENARIOS if not measure(name, bench)]
    finally:
        remove(folder)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def end(number: int, frame: object) -> NoReturn:
    """As if interrupted: everything that was started is ended on the way out."""
    raise SystemExit(128 + number)


def measure(name: str, bench: Workbench) -> bool:
    """Whether it could be measured; what went wrong is said, and the next one can go on."""
    scenario = SCENARIOS[name]
    say(f"\n== {name}")
    needed = scenario.quick_disk if bench.quick else scenario.disk
    if (free := shutil.disk_usage(bench.folder).free) < needed:
        say(f"left out: it needs {needed / GIB:.0f} GiB in {bench.folder.parent}, {free / GIB:.0f} are free")
        return True
    began = time.monotonic()
    try:
        scenario.measure(bench)
    except Exception:
        say(traceback.format_exc())
        return False
    say(f"({time.monotonic() - began:.0f} s)")
    return True


def describe_machine() -> None:
    say(f"blobfs {commit()}, {time.strftime('%Y-%m-%d %H:%M')}")
    say(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Linux {platform.release()}, "
        f"Python {platform.python_version()}"
    )
    for program, (argument, without) in OPTIONAL.items():
        say(version_of(program, argument) or f"{program} is not installed: {without}")


def commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return (git("rev-parse", "--short=10", "HEAD") or "of no known commit") + (
            " with changes" if changed else ""
        )
    except OSError:
        return "of no known commit"


if __name__ == "__main__":
    main()
