"""``python -m tests.bitflips``: the campaign as a command; `tools/bitflips` sees to it that it can run."""

import argparse
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.bitflips.campaign import Extent, Ledger, run_campaign
from tests.bitflips.contents import LARGEST


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bitflips", description=__doc__)
    parser.add_argument("--flips", type=int, default=1_000)
    parser.add_argument("--blobs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=None, help="the same seed flips the same bits")
    parser.add_argument("--keep", action="store_true", help="leave everything on the disk")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(1 << 20)
    directory = Path(tempfile.mkdtemp(prefix="blobfs-bitflips-"))
    ledger = run_campaign(directory, Extent(options.flips, seed, options.blobs, LARGEST), print)
    tell(ledger)
    if ledger.failures or options.keep:
        print(f"everything is in {directory}")
    else:
        shutil.rmtree(directory)
    print(f"seed {seed}: {f'{len(ledger.failures)} FAILURES' if ledger.failures else 'no failures'}")
    return 1 if ledger.failures else 0


def tell(ledger: Ledger) -> None:
    kinds = Counter(flip.kind for flip in ledger.flips)
    harmless = Counter(f"{flip.kind}: {flip.harmless}" for flip in ledger.flips if flip.harmless)
    print(f"{len(ledger.flips)} flips: {_shown(kinds)}")
    print(f"of which do not matter: {_shown(harmless) or 'none'}")
    print(f"verify found: {_shown(ledger.found)}")
    print(f"verify --repair did: {_shown(ledger.done)}")
    print(f"verify then told: {'; '.join(ledger.left) or 'nothing'}")
    for when, counts in ledger.read.items():
        print(f"read {when}: {_shown(counts)}")
    for failure in ledger.failures:
        print(f"FAILURE {failure}")


def _shown(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))


if __name__ == "__main__":
    sys.exit(main())
