"""``python -m tools.crashing``: the campaign as a command; `tools/crash` sees to it that it can run."""

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

from tools.crashing.campaign import Extent, run_campaign


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--images", type=int, default=100, help="power cuts")
    parser.add_argument("--seed", type=int, default=None, help="the same seed gives the same operations")
    parser.add_argument("--minutes", type=float, default=60.0, help="no new store is begun after so many")
    parser.add_argument("--parallel", type=int, default=2, help="how many daemons are killed at a time")
    parser.add_argument("--keep", action="store_true", help="leave everything on the disk")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(1 << 20)
    directory = Path(tempfile.mkdtemp(prefix="blobfs-crash-"))
    extent = Extent(options.kills, options.images, seed, options.minutes, options.parallel)
    totals = run_campaign(directory, extent)
    if totals.violations or options.keep:
        print(f"everything is in {directory}")
    else:
        shutil.rmtree(directory)
    wrong = len(totals.violations)
    print(f"seed {seed}: {f'{wrong} VIOLATIONS' if wrong else 'nothing lost, nothing torn'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
