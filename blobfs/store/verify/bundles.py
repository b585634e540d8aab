"""Verifies bundles: each is the small blobs of a package, and each of those is verified by its id."""

import contextlib

from blobfs import errors
from blobfs.bundle import bundle_members
from blobfs.manifest import parse_manifest
from blobfs.model import BlobId, Invalid
from blobfs.store.bundles import write_bundle
from blobfs.store.directory_bundles import directory_of
from blobfs.store.sealed import has, read_blob
from blobfs.store.verify.blobs import list_files
from blobfs.store.verify.findings import Done, Finding, Findings, Inspection, Kind
from blobfs.store.verify.members import what_is_wrong


def check_bundles(inspection: Inspection) -> Findings:
    """After `check_blobs`: of what the blobs are right, a bundle can be made anew."""
    for package, _ in list_files(inspection, inspection.store.layout.bundles):
        if isinstance(package, Finding):
            yield package
        elif directory_of(inspection.store.layout.bundle(package)) is not None:
            continue
        elif package not in inspection.wrong and has(inspection.store, package):
            # Else nothing tells what should be in it.
            inspection.progress.count("bundles")
            yield from _check(inspection, package)


def _check(inspection: Inspection, package: BlobId) -> Findings:
    path = inspection.store.layout.bundle(package)
    try:
        members = bundle_members(parse_manifest(read_blob(inspection.store, package)))
    except Invalid:
        members = ()
    what = what_is_wrong(path, members) if members else "it is of no package that has one"
    if not what:
        return
    done = inspection.remove(path)
    if inspection.mends:
        # One that lacks a blob is not made: a bundle may go, its blobs are asked for one by one.
        with contextlib.suppress(errors.StoreError):
            write_bundle(inspection.store, package, members)
            done = Done.REBUILT if members else done
    yield Finding(Kind.BUNDLE, inspection.shown(path), what, done)
