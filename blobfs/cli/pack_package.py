"""The package that a tree of files is. Pure: one tree has one package, in whatever order it was found."""

from collections.abc import Mapping
from dataclasses import dataclass

from blobfs.cli.pack_scan import Tree
from blobfs.cli.pack_source import SourceFile
from blobfs.manifest import Entry, File, render_manifest
from blobfs.merkle import StreamHasher
from blobfs.model import BlobId


@dataclass(frozen=True, slots=True)
class Package:
    id: BlobId
    manifest: bytes
    files: int
    holders: Mapping[BlobId, SourceFile]
    """A file for each blob; which one of several does not matter."""


def make_package(tree: Tree, blobs: Mapping[bytes, BlobId], mtime_ns: int | None = None) -> Package:
    """`blobs` are those of its files, by path; `mtime_ns` is the time of all of them instead of their own.

    Raises `Invalid` for what no manifest can hold.
    """
    entries: list[Entry] = list(tree.others)
    holders: dict[BlobId, SourceFile] = {}
    for file in tree.files:
        blob = blobs[file.path]
        holders.setdefault(blob, file)
        time = file.stamp.mtime_ns if mtime_ns is None else mtime_ns
        entries.append(File(file.path, file.mode, file.stamp.size, time, blob))
    manifest = render_manifest(entries)
    hasher = StreamHasher()
    hasher.append(manifest)
    return Package(hasher.finish().root, manifest, len(tree.files), holders)
