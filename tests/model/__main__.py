"""``python -m tests.model``: the model test as a command; `tools/model` sees to it that it can run."""

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.model.campaign import Extent, run_campaign


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/model", description=__doc__)
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=40, help="the most operations in one example")
    parser.add_argument("--seed", type=int, default=None, help="the same seed draws the same examples")
    parser.add_argument("--nodes", choices=("a", "ab"), default="ab", help="one node, or two")
    parser.add_argument("--minutes", type=float, default=60.0, help="no example is begun after so many")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(1 << 20)
    directory = Path(tempfile.mkdtemp(prefix="blobfs-model-"))
    begun = time.monotonic()
    print(f"seed {seed}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the nodes are taken down then
    extent = Extent(options.examples, options.steps, options.nodes, seed, options.minutes)
    tally = run_campaign(directory, extent)
    shutil.rmtree(directory)
    seconds = time.monotonic() - begun
    print(f"{tally.examples} examples, {tally.operations} operations, {seconds:.0f} s, seed {seed}")
    print(tally.failure or "no differences")
    return 1 if tally.failure else 0


if __name__ == "__main__":
    sys.exit(main())
