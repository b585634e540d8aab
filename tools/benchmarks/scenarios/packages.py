"""Packages: Python started from one, one loaded whole, and one of many small files."""

from functools import partial

from tools.benchmarks.packing import blobfs, packed, write_library
from tools.benchmarks.running import run
from tools.benchmarks.scenarios.package_import import package_import
from tools.benchmarks.scenarios.package_small import package_small
from tools.benchmarks.scenarios.package_whole import package_whole
from tools.benchmarks.workbench import Workbench


def packages(bench: Workbench) -> None:
    for command in ("pack", "load"):
        run(*blobfs(bench, command, "--help"))  # compiles it
    with packed(bench, partial(write_library, bench)) as library:
        package_import(bench, library)
        package_whole(bench, library)
    package_small(bench)
