"""Verifies blobs and their trees, in `share/.blobfs/blobs` and `trees`.

Small blobs are verified several at a time, a large one by all threads at once. What is wrong is mended where
it is met: a wrong blob is demoted (`blobfs.store.demotion`), a wrong tree made from its blob.
"""

import contextlib
import heapq
import os
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path

from blobfs import errors
from blobfs.model import LEAF_SIZE, BlobId, Invalid, parse_blob_id
from blobfs.store.failures import describe, store_errors
from blobfs.store.files import replace_file
from blobfs.store.hashing import WORKERS, HashWorkers
from blobfs.store.layout import Layout
from blobfs.store.opening import Store
from blobfs.store.verify.content import (
    STRETCH,
    Content,
    Each,
    Verdict,
    check_content,
    open_untouched,
)
from blobfs.store.verify.findings import Done, Finding, Findings, Inspection, Kind

GROUP = 256
"""Blobs that are listed and verified together."""


def check_blobs(inspection: Inspection) -> Findings:
    """Every blob, with its tree."""
    files = list_files(inspection, inspection.store.layout.blobs)
    with ThreadPoolExecutor(WORKERS, "verify") as pool:
        while group := list(islice(files, GROUP)):
            yield from (found for found, _ in group if isinstance(found, Finding))
            blobs = [(blob, size) for blob, size in group if not isinstance(blob, Finding)]
            small = [blob for blob, size in blobs if size < STRETCH]
            for blob, verdict in zip(small, pool.map(partial(_check, inspection), small), strict=True):
                yield from _settle(inspection, blob, verdict)
            for blob in (blob for blob, size in blobs if size >= STRETCH):
                yield from _settle(inspection, blob, _check(inspection, blob, pool.map))


def check_trees(inspection: Inspection) -> Findings:
    """After `check_blobs`: trees without a blob that needs one."""
    layout = inspection.store.layout
    for blob, _ in list_files(inspection, layout.trees):
        if isinstance(blob, Finding):
            yield blob
            continue
        with contextlib.suppress(FileNotFoundError):
            if layout.blob(blob).stat().st_size > LEAF_SIZE:
                continue
        path = layout.tree(blob)
        what = "a tree whose blob is not here, or has none"
        yield Finding(Kind.STRAY, inspection.shown(path), what, inspection.remove(path))


def list_files(inspection: Inspection, directory: Path) -> Iterator[tuple[BlobId | Finding, int]]:
    """What is named by ids, with its size; for anything else a finding."""
    with os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                found = entry.stat(follow_symlinks=False)
                with contextlib.suppress(Invalid):
                    blob = parse_blob_id(entry.name)
                    if stat.S_ISREG(found.st_mode):
                        yield blob, found.st_size
                        continue
                yield stray(inspection, Path(entry.path)), 0


@store_errors()
def blobs_after(store: Store, position: str, most: int) -> list[BlobId]:
    """The first `most` blobs whose ids come behind `position`, in order."""
    with os.scandir(store.layout.blobs) as entries:
        return heapq.nsmallest(most, _ids_after(entries, position))


def _ids_after(entries: Iterable[os.DirEntry[str]], position: str) -> Iterator[BlobId]:
    for entry in entries:
        if entry.name > position:
            with contextlib.suppress(Invalid):
                yield parse_blob_id(entry.name)


def stray(inspection: Inspection, path: Path, what: str = "it has no place here") -> Finding:
    """Puts it out of the way."""
    return Finding(Kind.STRAY, inspection.shown(path), what, inspection.quarantine(path))


def _check(inspection: Inspection, blob: BlobId, each: Each = map) -> Verdict | None:
    """None: it has gone."""
    inspection.progress.count("blobs")
    store = inspection.store
    try:
        with open_whole(store.layout, store.hashing, blob) as content:
            return check_content(content, each, inspection.progress.add)
    except FileNotFoundError:
        return None
    except (OSError, errors.StoreError) as failure:
        reason = describe(failure) if isinstance(failure, OSError) else str(failure)
        return Verdict(0, False, True, reason=f"it cannot be read: {reason}")


@contextlib.contextmanager
def open_whole(layout: Layout, hashing: HashWorkers, blob: BlobId) -> Iterator[Content]:
    """A whole blob and its tree, to be verified. Raises OSError, FileNotFoundError where it is not here."""
    with contextlib.ExitStack() as closing:
        fd = open_untouched(layout.blob(blob))
        closing.callback(os.close, fd)
        tree_fd = None
        with contextlib.suppress(FileNotFoundError):
            tree_fd = open_untouched(layout.tree(blob))
            closing.callback(os.close, tree_fd)
        yield Content(blob, fd, os.fstat(fd).st_size, tree_fd, hashing)


def _settle(inspection: Inspection, blob: BlobId, verdict: Verdict | None) -> Findings:
    """Mends what was found out about a blob."""
    layout = inspection.store.layout
    if verdict is None or (verdict.is_right and verdict.is_tree_right):
        return
    if verdict.is_right:
        tree = layout.tree(blob)
        what = "it is not the blob's tree" if tree.exists() else "missing"
        if inspection.mends:
            replace_file(layout, tree, verdict.tree)
        yield Finding(Kind.TREE, inspection.shown(tree), what, inspection.outcome(Done.REBUILT))
        return
    path = layout.blob(blob)
    size = path.stat().st_size
    done = inspection.take_out(blob)
    yield Finding(
        Kind.BLOB,
        inspection.shown(path),
        verdict.reason,
        done,
        blob,
        size if verdict.good else None,
        verdict.good,
    )
