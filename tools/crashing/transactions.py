"""The program that makes packages: opens transactions, writes their blobs, completes or aborts them.

In the book a transaction is the key ``.needed/ID``, and each of its blobs ``.needed/ID/BLOB``. Safe from a
power cut are the opening of a transaction, each of its blobs once it was written, and a complete package; an
abort is safe from a kill.
"""

import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

from blobfs.model import BlobId
from tests.mount.packages import WRITE, WRITTEN_SUFFIX, package_of, write
from tests.sync.packages.made import Made
from tools.crashing.book import ABSENT, Book, Safe
from tools.crashing.contents import draw_size
from tools.crashing.program import Unexpected

OPEN, COMPLETE, HELD = "open", "complete", "held"
ABORTED = 0.3
"""How many of the transactions are torn down, at a random moment."""
SMALLEST_BLOB, LARGEST_BLOB = 16, 200_000
"""Bytes. Two contents of a few bytes may be the same, and a blob counts however it comes here (S85)."""


def key_of(package: str, blob: str = "") -> str:
    return f".needed/{package}/{blob}".rstrip("/")


class Packer:
    """Makes one package after the other; goes on after a crash with the one that it was about."""

    def __init__(
        self,
        mountpoint: Path,
        book: Book,
        chance: random.Random,
        on_operation: Callable[[], None],
    ) -> None:
        self._needed = mountpoint / ".blobfs" / "needed"
        self._book = book
        self._chance = chance
        self._on_operation = on_operation
        self._package: Made | None = None
        self.made: dict[str, Made] = {}
        """All of them, whatever became of them."""

    def run(self, stop: threading.Event, is_dying: threading.Event) -> None:
        """Raises `Unexpected`."""
        try:
            while not stop.is_set():
                self._work(stop)
        except OSError as error:
            self._book.note(f"packer ends: {error}")
            if not is_dying.is_set():
                raise Unexpected(f"the packer: {error}") from error

    def _work(self, stop: threading.Event) -> None:
        package = self._package
        state = ABSENT if package is None else self._book.value(key_of(package.package))
        if package is None or state == COMPLETE:
            package = self._package = self._open()
        elif state == ABSENT:  # a crash has taken the opening back, or completed the abort
            self._package = None
            return
        if self._chance.random() < ABORTED:
            self._write(package, self._chance.randrange(len(package.blobs) + 2), stop)
            self._abort(package)
        else:
            self._write(package, len(package.blobs) + 1, stop)

    def _open(self) -> Made:
        draw = self._chance
        sizes = [draw_size(draw) for _ in range(draw.randrange(1, 16))]
        package = package_of(
            {
                b"%d" % number: draw.randbytes(min(max(size, SMALLEST_BLOB), LARGEST_BLOB))
                for number, size in enumerate(sizes)
            }
        )
        self.made[package.package] = package
        path = self._needed / package.package
        self._call(f"mkdir needed/{package.package}", path.mkdir, {"": OPEN}, package)
        return package

    def _write(self, package: Made, count: int, stop: threading.Event) -> None:
        """So many of its blobs, the meta blob first, if it is not here."""
        left = [
            blob
            for blob in (package.package, *package.blobs)
            if self._book.value(key_of(package.package, blob)) != HELD
        ]
        for number, blob in enumerate(left[:count], 1):
            if stop.is_set() or self._book.value(key_of(package.package)) != OPEN:
                return
            self._write_blob(package, blob, is_last=number == len(left))

    def _write_blob(self, package: Made, blob: BlobId, is_last: bool) -> None:
        place = self._needed / package.package
        path, content, flags = place / "missing" / blob, package.blobs.get(blob, package.meta), os.O_WRONLY
        if blob == package.package:
            path, content, flags = place / "meta", package.meta, WRITE
        changes = {blob: HELD} | ({"": COMPLETE} if is_last else {})
        if is_last:
            changes |= dict.fromkeys((package.package, *package.blobs), HELD)
        text = f"write {path.parent.name}/{blob[:12]} {len(content)} bytes"
        self._call(text, lambda: write(path, content, flags), changes, package)

    def _abort(self, package: Made) -> None:
        if self._book.value(key_of(package.package)) != OPEN:
            return
        changes = dict.fromkeys(("", package.package, *package.blobs), ABSENT)
        path = self._needed / package.package
        self._call(f"abort {package.package}", path.rmdir, changes, package, Safe.KILL)
        self._package = None

    def _call(
        self,
        text: str,
        call: Callable[[], object],
        changes: dict[str, str],
        package: Made,
        safe: Safe = Safe.POWER,
    ) -> None:
        self._book.note(f"packer: {text}")
        at = self._book.begin({key_of(package.package, blob): value for blob, value in changes.items()})
        self._on_operation()
        call()
        self._book.acknowledge(at, safe)
        self._book.note(f"packer: {text}: done")


def observe_packages(mountpoint: Path, store: Path, packer: Packer) -> dict[str, str]:
    """What has become of them, in the book's words. Raises `Unexpected` for what contradicts itself."""
    found: dict[str, str] = {}
    for package, made in packer.made.items():
        place = mountpoint / ".blobfs" / "needed" / package
        is_open, is_complete = place.is_dir(), (store / "packages" / package).is_dir()
        if is_open and is_complete:
            raise Unexpected(f"{package} is open, and complete")
        if is_open:
            found[key_of(package)] = OPEN
            for blob in _written(place, made):
                found[key_of(package, blob)] = HELD
        if is_complete:
            found[key_of(package)] = COMPLETE
            links = os.listdir(store / "packages" / package)
            for link in links:
                found[key_of(package, link.removesuffix(WRITTEN_SUFFIX))] = HELD
            _read_through(mountpoint / ".blobfs" / "packages" / package, made)
    return found


def _written(place: Path, made: Made) -> set[BlobId]:
    if not (place / "meta").exists():
        return set()
    if (place / "meta").read_bytes() != made.meta:
        raise Unexpected(f"wrong bytes in {place / 'meta'}")
    missing = {BlobId(name) for name in os.listdir(place / "missing")}
    return {made.package, *made.blobs} - missing


def _read_through(place: Path, made: Made) -> None:
    contents = sorted(path.read_bytes() for path in place.iterdir())
    expected = sorted(made.blobs[BlobId(blob)] for blob in made.blobs)
    if sorted(set(contents)) != expected:
        raise Unexpected(f"wrong bytes in the complete package {place.name}")
