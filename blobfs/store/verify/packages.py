"""Verifies `needed/` and `packages/`: links are to the blobs they are named for, complete packages complete.

A blob that was taken out of the share because it is wrong is held still: the link is to the partial blob that
it has become.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from blobfs.manifest import Manifest, parse_manifest
from blobfs.model import BlobId, Invalid, parse_blob_id
from blobfs.store.dropping import is_same_file
from blobfs.store.layout import WRITTEN_SUFFIX
from blobfs.store.marks import KEEP, get_mark
from blobfs.store.packages import list_packages, list_transactions
from blobfs.store.sealed import has, place_blob, read_blob, replace_by_link
from blobfs.store.verify.findings import Done, Finding, Findings, Inspection, Kind
from blobfs.store.verify.records import hash_regular


def check_packages(inspection: Inspection) -> Findings:
    """Open transactions, then complete packages."""
    store, layout = inspection.store, inspection.store.layout
    for package, _ in list_transactions(store):
        yield from _check_holds(inspection, layout.transaction(package))
    for package in list_packages(store):
        inspection.progress.count("packages")
        yield from _check_holds(inspection, layout.package(package))
        yield from _check_whole(inspection, package)


def _check_holds(inspection: Inspection, directory: Path) -> Findings:
    for text in sorted(os.listdir(directory)):
        try:
            blob = parse_blob_id(text.removesuffix(WRITTEN_SUFFIX))
        except Invalid:
            continue  # reserved
        yield from _check_hold(inspection, blob, directory / text)


def _check_hold(inspection: Inspection, blob: BlobId, link: Path) -> Findings:
    store, layout = inspection.store, inspection.store.layout
    if is_same_file(link, layout.blob(blob)) or is_same_file(link, layout.partial_content(blob)):
        return
    if has(store, blob):
        if inspection.mends:
            replace_by_link(store, layout.blob(blob), link)
        yield inspection.finding(Kind.HOLD, link, "another file than the blob", Done.REBUILT)
        return
    content = hash_regular(inspection, link)
    if content is not None and content.blob == blob:
        if inspection.mends:
            place_blob(store, link, content, link.stat().st_mtime_ns)
        what = "missing, though a package holds it"
        yield inspection.finding(Kind.BLOB, layout.blob(blob), what, Done.RESTORED)
        return
    is_elsewhere = link.lstat().st_nlink > 1
    done = inspection.remove(link) if is_elsewhere else inspection.quarantine(link)
    yield Finding(Kind.HOLD, inspection.shown(link), "not the blob for which it is named", done)


def _check_whole(inspection: Inspection, package: BlobId) -> Findings:
    """That the package holds all its blobs."""
    directory = inspection.store.layout.package(package)
    if package in inspection.wrong:
        return  # nobody knows what it should hold
    if not has(inspection.store, package):
        yield from _lacks(inspection, package, package, None)
        return
    try:
        manifest = parse_manifest(read_blob(inspection.store, package))
    except Invalid as reason:
        done = inspection.quarantine(directory)
        yield Finding(Kind.PACKAGE, inspection.shown(directory), f"no package: {reason}", done)
        return
    held = {text.removesuffix(WRITTEN_SUFFIX) for text in os.listdir(directory)}
    for blob, size in _all_of(package, manifest):
        if blob not in held:
            yield from _hold_again(inspection, package, blob, size)


def _all_of(package: BlobId, manifest: Manifest) -> Iterator[tuple[BlobId, int | None]]:
    yield package, None
    yield from manifest.blobs().items()


def _hold_again(inspection: Inspection, package: BlobId, blob: BlobId, size: int | None) -> Findings:
    path = inspection.store.layout.blob(blob)
    if not has(inspection.store, blob):
        yield from _lacks(inspection, package, blob, size)
    elif not get_mark(path, KEEP):  # else it has as many links as a file can have, and stays without
        link = inspection.store.layout.package(package) / blob
        if inspection.mends:
            with inspection.store.links:
                os.link(path, link)
        yield inspection.finding(Kind.HOLD, link, "missing", Done.REBUILT)


def _lacks(inspection: Inspection, package: BlobId, blob: BlobId, size: int | None) -> Findings:
    if blob not in inspection.wrong:
        shown = inspection.shown(inspection.store.layout.package(package))
        yield Finding(Kind.PACKAGE, shown, f"it lacks {blob}", Done.NOTHING, blob, size)
