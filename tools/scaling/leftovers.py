"""What a start finds of the last run, ten thousand of each; and one directory with 100,000 names."""

import os
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path

from blobfs.chunks import MAP_MAGIC
from blobfs.model import Name
from blobfs.record import BlobRecord, encode_record
from blobfs.store.layout import SHARED_FILE_MODE, Layout
from blobfs.store.marks import NAME, RECORD, set_mark
from blobfs.store.opening import open_store
from tools.scaling.filling import BLOB_SIZE, blob_of, content_of, fill, fill_directory
from tools.scaling.measuring import MIB, timed
from tools.scaling.node import ScaledNode

MANY = 10_000
LARGE = 100_000
PARTIAL_SIZE = 3 * MIB
CHANGES = 50

Told = dict[str, float]


def leftovers(folder: Path, many: int = MANY, large: int = LARGE) -> Told:
    """By what it is, in words; seconds unless they say otherwise."""
    found: Told = {}
    for measure, count in ((asleep, many), (accepted, many), (large_directory, large)):
        place = folder / measure.__name__
        place.mkdir()
        found |= measure(place, count)
    return found


def asleep(folder: Path, count: int) -> Told:
    """Blobs of which a part was loaded, and nobody reads them."""
    node = ScaledNode(folder, "a")
    layout = _opened(node)
    for number in range(count):
        key = layout.partial_content(blob_of(number))
        key.touch(mode=0o600)
        os.truncate(key, PARTIAL_SIZE)
        map_bytes = MAP_MAGIC + PARTIAL_SIZE.to_bytes(8, "little") + b"\x03" + bytes(2)
        layout.partial_map(blob_of(number)).write_bytes(map_bytes)
    return _starts(node, f"{count:,} partial blobs asleep")


def accepted(folder: Path, count: int) -> Told:
    """Files that were closed and flushed, and not yet shared when the node was killed."""
    node = ScaledNode(folder, "a")
    layout = _opened(node, clean=False)
    for number in range(count):
        path = layout.new_incoming()
        path.write_bytes(content_of(number))
        record = BlobRecord(blob_of(number), BLOB_SIZE, SHARED_FILE_MODE, number, 0)
        set_mark(path, NAME, f"d{number % 10}/f{number:08d}".encode())
        set_mark(path, RECORD, encode_record(record).rstrip(b"\n"))
    return _starts(node, f"{count:,} files to be shared")


def _opened(node: ScaledNode, clean: bool = True) -> Layout:
    store = open_store(node.store)
    store.close(clean)
    return store.layout


def _starts(node: ScaledNode, what: str) -> Told:
    with node:
        told = {f"start with {what}": timed(node.start)}
        told[f"CPU time of the start with {what}"] = node.cpu_seconds()
        told[f"status with {what}"] = timed(node.status)
        node.stop()
    return told


def large_directory(folder: Path, count: int) -> Told:
    """A name more, a name less, another name, among so many."""
    node = ScaledNode(folder, "a")
    fill(node.store, 1000)
    fill_directory(node.store, Name("large"), range(10_000_000, 10_000_000 + count))
    with node:
        node.start()
        large, what = node.path("large"), f"in a directory of {count:,}"
        told = {
            f"stat of the first name {what}": timed((large / "f10000000").stat),
            f"ls {what}": timed(lambda: os.listdir(large)),
            f"ls again {what}": timed(lambda: os.listdir(large)),
        }
        told |= _changes(node, large, what, min(CHANGES, count))
        told[f"MiB of memory {what}"] = node.rss() / MIB
        return told | _kill(node, large, what)


def _changes(node: ScaledNode, large: Path, what: str, count: int) -> Told:
    def median(call: Callable[[Path], object]) -> float:
        paths = (large / f"new{number}" for number in range(count))
        return statistics.median(timed(partial(call, path)) for path in paths)

    def make(path: Path) -> None:
        path.write_bytes(path.name.encode())
        node.wait_until_sealed()

    told = {f"make and seal a file {what}": median(make)}
    told[f"rename {what}"] = median(lambda path: path.rename(f"{path}-renamed"))
    told[f"unlink {what}"] = median(lambda path: Path(f"{path}-renamed").unlink())
    return told


def _kill(node: ScaledNode, large: Path, what: str) -> Told:
    (large / "last").write_bytes(b"last")
    node.wait_until_sealed()
    node.kill9()
    told = {f"start after kill -9, having changed a name {what}": timed(node.start)}
    told[f"unlink right after it {what}"] = timed((large / "last").unlink)
    node.stop()
    return told
