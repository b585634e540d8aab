"""``python -m tools.filling``: the campaign as a command; `tools/quota` sees to it that it can run."""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tools.filling.campaign import MIB, Amounts, run_campaign


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/quota", description=__doc__)
    parser.add_argument("--quota", type=int, default=1024, help="MiB")
    parser.add_argument("--read", type=int, default=5 * 1024, help="MiB read in turn")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="blobfs-quota-"))
    try:
        failures = run_campaign(directory, Amounts(options.quota * MIB, options.read * MIB))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    for failure in failures:
        print(f"WRONG: {failure}")
    print("nothing was wrong" if not failures else f"{len(failures)} things were wrong")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
