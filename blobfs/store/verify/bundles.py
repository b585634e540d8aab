"""Verifies bundles: each is the small blobs of a package, and each of those is verified by its id."""

import contextlib
import os
from pathlib import Path

from blobfs import errors
from blobfs.bundle import Member, bundle_members
from blobfs.manifest import parse_manifest
from blobfs.merkle import build_tree, hash_leaves
from blobfs.model import BlobId, Invalid
from blobfs.store.bundles import write_bundle
from blobfs.store.sealed import has, read_blob
from blobfs.store.verify.blobs import list_files
from blobfs.store.verify.content import open_untouched
from blobfs.store.verify.findings import Done, Finding, Findings, Inspection, Kind


def check_bundles(inspection: Inspection) -> Findings:
    """After `check_blobs`: of what the blobs are right, a bundle can be made anew."""
    for package, _ in list_files(inspection, inspection.store.layout.bundles):
        if isinstance(package, Finding):
            yield package
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
    what = _what_is_wrong(path, members)
    if not what:
        return
    done = inspection.remove(path)
    if inspection.mends:
        # One that lacks a blob is not made: a bundle may go, its blobs are asked for one by one.
        with contextlib.suppress(errors.StoreError):
            write_bundle(inspection.store, package, members)
            done = Done.REBUILT if members else done
    yield Finding(Kind.BUNDLE, inspection.shown(path), what, done)


def _what_is_wrong(path: Path, members: tuple[Member, ...]) -> str:
    if not members:
        return "it is of no package that has one"
    fd = open_untouched(path)
    try:
        if os.fstat(fd).st_size != members[-1].offset + members[-1].size:
            return "it is not as long as its blobs together"
        wrong = sum(not _is_right(member, os.pread(fd, member.size, member.offset)) for member in members)
    finally:
        os.close(fd)
    return f"{wrong} of its {len(members)} blobs are wrong" if wrong else ""


def _is_right(member: Member, content: bytes) -> bool:
    return build_tree(hash_leaves(content, 0), len(content))[0] == member.blob
