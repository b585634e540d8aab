"""Packages on a real mount: made from a dict, written through the protocol as any program would do it.

::

    package = package_of({b"bin/tool": b"#!/bin/sh\n", b"lib": package_of({b"so": b"..."})})
    publish(node, package)
    assert is_complete(node, package)
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from errno import ENOENT
from functools import partial
from pathlib import Path

from blobfs.model import BlobId
from tests.mount.node import BlobfsNode
from tests.mount.probes import blob_id, errno_of
from tests.sync.packages.made import Made, make

WRITE = os.O_WRONLY | os.O_CREAT
WRITTEN_SUFFIX = ".written"
"""Of a transaction's link to what was written through it (docs/formats.md)."""


def package_of(tree: Mapping[bytes, bytes | Made]) -> Made:
    """Files by path, with their content; a package is nested there."""
    files = {os.fsdecode(path): raw for path, raw in tree.items() if isinstance(raw, bytes)}
    nested = {os.fsdecode(path): inner for path, inner in tree.items() if isinstance(inner, Made)}
    return make(files, nested=nested)


def package_with(meta: bytes, blobs: Mapping[BlobId, bytes] | None = None) -> Made:
    """Whatever the meta blob is."""
    return Made(BlobId(blob_id(meta)), meta, blobs or {})


# Where things are


def directory(node: BlobfsNode, package: Made) -> Path:
    """Of its transaction."""
    return node.path(f".blobfs/needed/{package.package}")


def meta(node: BlobfsNode, package: Made) -> Path:
    return directory(node, package) / "meta"


def missing(node: BlobfsNode, package: Made, blob: str = "") -> Path:
    return directory(node, package) / "missing" / blob


def state(node: BlobfsNode, package: Made) -> str:
    """The line in its file."""
    return (directory(node, package) / "state").read_text().removesuffix("\n")


# Writing


def write(path: Path, content: bytes, flags: int = WRITE, step: int = 1 << 20) -> None:
    """By system calls, so that no error is lost: the first one of the open, the writes, the close."""
    descriptor = os.open(path, flags, 0o644)
    try:
        for start in range(0, len(content), step):
            os.write(descriptor, content[start : start + step])
    except OSError:
        with suppress(OSError):
            os.close(descriptor)
        raise
    os.close(descriptor)


def errno_of_write(path: Path, content: bytes, flags: int = WRITE) -> int:
    """The same as an errno; 0 when nothing fails."""
    return errno_of(partial(write, path, content, flags))


def begin(node: BlobfsNode, package: Made) -> None:
    """Opens a transaction and writes the meta blob."""
    directory(node, package).mkdir()
    write(meta(node, package), package.meta)


def finish(node: BlobfsNode, package: Made) -> None:
    """Writes what is missing until nothing is; goes on with whatever another run had begun."""
    if errno_of(directory(node, package).stat) == 0 and errno_of(meta(node, package).stat) == ENOENT:
        write(meta(node, package), package.meta)
    while True:
        try:
            blobs = os.listdir(missing(node, package))
        except FileNotFoundError:
            return  # complete
        for blob in blobs:
            failed = errno_of_write(missing(node, package, blob), package.blobs[BlobId(blob)])
            assert failed in (0, ENOENT), os.strerror(failed)


def publish(node: BlobfsNode, package: Made) -> None:
    """All of it."""
    begin(node, package)
    finish(node, package)


# What came of it


def held(node: BlobfsNode, package: Made, place: str = "packages") -> dict[str, bytes] | None:
    """What the store holds for it, by blob id, as it is on the disk; None where it is not there."""
    path = node.store / place / package.package
    if not path.exists():
        return None
    return {link.name.removesuffix(WRITTEN_SUFFIX): link.read_bytes() for link in path.iterdir()}


def is_open(node: BlobfsNode, package: Made) -> bool:
    return errno_of(directory(node, package).stat) == 0


def is_complete(node: BlobfsNode, package: Made) -> bool:
    """Whether all of it is here, and its transaction gone."""
    whole = {package.package: package.meta, **package.blobs}
    return (
        not is_open(node, package) and held(node, package, "needed") is None and held(node, package) == whole
    )


def is_absent(node: BlobfsNode, package: Made) -> bool:
    """Whether there is neither a transaction nor a complete package."""
    places = (held(node, package, place) for place in ("needed", "packages"))
    return not is_open(node, package) and all(found is None for found in places)
