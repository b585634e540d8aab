"""``python -m tests.faults``: the campaign as a command; `tools/faults` sees to it that it can run."""

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

from tests.faults.campaign import Extent, run_campaign


def _pair(text: str) -> tuple[int, int]:
    load, _, phase = text.partition(":")
    return int(load), int(phase)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/faults", description=__doc__)
    parser.add_argument("--loads", type=int, default=10_000)
    parser.add_argument(
        "--seed", type=int, default=None, help="the same seed gives the same blobs, loads, faults"
    )
    parser.add_argument("--minutes", type=float, default=12.0, help="no new store is begun after so many")
    parser.add_argument("--without", default="", metavar="LETTERS", help="faults that are left out")
    parser.add_argument("--again", type=_pair, metavar="LOAD:PHASE", help="one load again, some times over")
    parser.add_argument("--keep", action="store_true", help="leave everything on the disk")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(1 << 20)
    directory = Path(tempfile.mkdtemp(prefix="blobfs-faults-"))
    extent = Extent(options.loads, seed, options.minutes, without=options.without, again=options.again)
    ledger = run_campaign(directory, extent)
    if ledger.failures or options.keep:
        print(f"everything is in {directory}")
    else:
        shutil.rmtree(directory)
    print(f"seed {seed}: {f'{len(ledger.failures)} FAILURES' if ledger.failures else 'no failures'}")
    return 1 if ledger.failures else 0


if __name__ == "__main__":
    sys.exit(main())
