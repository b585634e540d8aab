"""Verifies a whole store: everything in it, in an order in which each step can rely on the one before.

Memory is bounded by what is in one directory of names, not by what is in the store.
"""

import contextlib
import os
from pathlib import Path

from blobfs.store.failures import store_errors
from blobfs.store.verify.blobs import check_blobs, check_trees
from blobfs.store.verify.bundles import check_bundles
from blobfs.store.verify.directory_bundles import check_directory_bundles
from blobfs.store.verify.findings import Findings, Inspection
from blobfs.store.verify.names import check_names
from blobfs.store.verify.packages import check_packages
from blobfs.store.verify.partials import check_partials

STEPS = (
    check_blobs,
    check_trees,
    check_partials,
    check_names,
    check_packages,
    check_bundles,
    check_directory_bundles,
)
"""Bytes first: what is wrong with names is told and mended by the blobs that are right."""


def verify(inspection: Inspection) -> Findings:
    """Everything that is wrong, as it is found. Raises `StoreError`."""
    with store_errors():
        for step in STEPS:
            yield from step(inspection)
        _count_leftovers(inspection)


def check_references(inspection: Inspection) -> Findings:
    """What refers to blobs that have just come here again. Raises `StoreError`."""
    with store_errors():
        for step in (check_names, check_packages, check_bundles, check_directory_bundles):
            yield from step(inspection)


def measure(inspection: Inspection) -> int:
    """How many bytes `verify` will read, about. Raises `StoreError`."""
    layout = inspection.store.layout
    with store_errors():
        return _bytes_in(layout.blobs) + _bytes_in(layout.partial)


def _bytes_in(directory: Path) -> int:
    total = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            if "." in entry.name:
                continue
            with contextlib.suppress(FileNotFoundError):
                found = entry.stat(follow_symlinks=False)
                total += min(found.st_size, found.st_blocks * 512)  # of a partial blob what is here
    return total


def _count_leftovers(inspection: Inspection) -> None:
    """What the next start deals with, and what waits for the operator."""
    layout = inspection.store.layout
    inspection.progress.count("files being written", len(os.listdir(layout.incoming)))
    inspection.progress.count("in quarantine", len(os.listdir(layout.quarantine)))
