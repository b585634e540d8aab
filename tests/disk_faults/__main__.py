"""``python -m tests.disk_faults``: the campaign as a command; `tools/disk-faults` makes sure it can run."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.disk_faults.campaign import HEADER, run_campaign
from tests.disk_faults.mounted import run_mounted
from tests.disk_faults.plan import Fault
from tests.disk_faults.scenarios import SCENARIOS


def _faults(text: str) -> list[Fault]:
    return [Fault[word] for word in text.split(",")]


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/disk-faults", description=__doc__)
    parser.add_argument("--errno", type=_faults, default=list(Fault), metavar="ENOSPC,EIO,EDQUOT,EROFS,SHORT")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each Nth operation")
    parser.add_argument("--scenario", action="append", choices=sorted(SCENARIOS), help="only this one")
    parser.add_argument(
        "--mounted", type=int, default=40, metavar="N", help="points of a real mount; 0: none"
    )
    options = parser.parse_args()
    begin = time.monotonic()
    print(HEADER, flush=True)

    def tell(row: object) -> None:
        print(row, flush=True)

    report = run_campaign(options.errno, options.every, options.scenario or tuple(SCENARIOS), tell)
    if options.mounted:
        with tempfile.TemporaryDirectory(prefix="blobfs-disk-faults-") as directory:
            run_mounted(Path(directory), options.errno, options.mounted, report, tell)
    for wrong in report.wrong:
        print(wrong)
    verdict = f"{len(report.wrong)} WRONG" if report.wrong else "nothing wrong"
    print(f"{report.points} points in {time.monotonic() - begin:.0f} s: {verdict}")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
