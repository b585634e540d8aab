"""``tools/scale``: makes a store of each size, measures a node over it, prints a table."""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from tools.benchmarks.report import Table, say
from tools.scaling.disk import loop_disk
from tools.scaling.filling import fill
from tools.scaling.leftovers import leftovers
from tools.scaling.measuring import Figures, Measured, described
from tools.scaling.node import ScaledNode

SIZES = "1000,100000,1000000"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="tools/scale", description="Measures a node whose store is large (docs/benchmarks.md)."
    )
    parser.add_argument("--blobs", default=SIZES, help=f"sizes of stores, with commas; {SIZES} if not given")
    parser.add_argument("--only", choices=("sizes", "leftovers"), help="one half of it")
    parser.add_argument("--json", action="store_true", help="for programs")
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    os.umask(0o022)
    sizes = [int(text) for text in given.blobs.split(",")] if given.only != "leftovers" else []
    found: dict[str, Any] = {"sizes": [measure_size(size) for size in sizes]}
    if given.only != "sizes":
        found["leftovers"] = measure_leftovers()
    if given.json:
        print(json.dumps(found | {"sizes": [asdict(each) for each in found["sizes"]]}, indent=2))
    else:
        show(found)


def _end(number: int, frame: object) -> NoReturn:
    """As if interrupted: everything that was started is ended on the way out."""
    raise SystemExit(128 + number)


def measure_size(blobs: int) -> Figures:
    with (
        tempfile.TemporaryDirectory(prefix="blobfs-scale.") as folder,
        loop_disk(Path(folder), blobs) as disk,
    ):
        began = time.monotonic()
        with ScaledNode(disk, "a") as node:
            fill(node.store, blobs)
            print(f"{blobs:,} blobs made in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
            return Measured(node, blobs).run()


def measure_leftovers() -> dict[str, float]:
    with (
        tempfile.TemporaryDirectory(prefix="blobfs-scale.") as folder,
        loop_disk(Path(folder), 200_000) as disk,
    ):
        return leftovers(disk)


def show(found: dict[str, Any]) -> None:
    if found["sizes"]:
        table = Table("blobs", *(f"{each.blobs:,}" for each in found["sizes"]))
        for name, what in described().items():
            table.add(what, *(getattr(each, name) for each in found["sizes"]))
        say(table)
    if "leftovers" in found:
        table = Table("", "s")
        for what, seconds in found["leftovers"].items():
            table.add(what, seconds)
        say(f"\n{table}")


if __name__ == "__main__":
    main()
