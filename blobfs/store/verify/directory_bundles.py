"""Verifies the bundles of directories: each holds what its directory's list says, and no other is here."""

import contextlib
from pathlib import Path

from blobfs import errors
from blobfs.directory_bundles import Bundle
from blobfs.model import BlobId, Name
from blobfs.store.directory_bundles import directory_bundles, read_bundles, small_blobs, update_bundles
from blobfs.store.names import list_directories, read_directory
from blobfs.store.verify.findings import Done, Findings, Inspection, Kind
from blobfs.store.verify.members import what_is_wrong


def check_directory_bundles(inspection: Inspection) -> Findings:
    """After the blobs and the names: of what these say bundles are made anew."""
    store = inspection.store
    found = dict(directory_bundles(store))
    told: set[BlobId] = set()
    for directory in list_directories(store):
        if store.layout.bundle_list(directory).exists():
            yield from _check(inspection, directory, read_bundles(store, directory))
            bundles = read_bundles(store, directory)
            told.update(bundle.id for bundle in bundles or ())
            if bundles is None:  # still: what it should tell of is not known
                told.update(bundle for bundle, its_directory in found.items() if its_directory == directory)
    for bundle in found.keys() - told:
        path = store.layout.bundle(bundle)
        yield inspection.finding(Kind.BUNDLE, path, f"{found[bundle]!r} does not list it", Done.REMOVED)
        inspection.remove(path)


def _check(inspection: Inspection, directory: Name, bundles: tuple[Bundle, ...] | None) -> Findings:
    path = inspection.store.layout.bundle_list(directory)
    if bundles is None:
        done = _rebuild(inspection, directory, path)
        yield inspection.finding(Kind.BUNDLE, path, "it is no list of bundles", done)
    for bundle in bundles or ():
        inspection.progress.count("bundles")
        path = inspection.store.layout.bundle(bundle.id)
        what = what_is_wrong(path, bundle.members) if path.exists() else f"missing from {directory!r}"
        if what:
            yield inspection.finding(Kind.BUNDLE, path, what, _rebuild(inspection, directory, path))


def _rebuild(inspection: Inspection, directory: Name, path: Path) -> Done:
    """From the blobs that are here. What cannot be made anew is not there: they are asked for one by one."""
    if not inspection.mends:
        return Done.NOTHING
    path.unlink(missing_ok=True)
    with contextlib.suppress(errors.StoreError):
        wanted = small_blobs(read_directory(inspection.store, directory))
        update_bundles(inspection.store, directory, wanted)
    return Done.REBUILT if path.exists() else Done.REMOVED
