"""The rules for what goes by its id: incoming blobs, and packages that are written file by file.

`Step` is what a verb comes to: the call that is made, and what it has to end in. Contents are others than
those of named files, so that it is always known what is here.
"""

import errno
from dataclasses import dataclass, field
from functools import cached_property

from tests.model.descriptors import UNREACHABLE, Perhaps
from tests.model.script import Raw
from tests.model.world import Refused, Unclear
from tests.mount.probes import blob_id
from tests.sync.packages.made import Made, make

PACKAGE_SIZES = (100, 140_000)
"""Of the files of a package: one leaf, and more than a chunk."""
INCOMING_SIZES = (100, 20_000)
RIGHT, WRONG, SHORT = "right", "wrong", "short"
WAYS = (RIGHT, RIGHT, RIGHT, WRONG, SHORT)


@dataclass(frozen=True)
class Step:
    call: tuple[object, ...]
    expected: object


@dataclass
class Transaction:
    """One node's part of one package."""

    is_open: bool = False
    is_complete: bool = False
    has_meta: bool = False
    missing: set[str] = field(default_factory=set)
    is_uncertain: bool = False
    """Blobs of it came from elsewhere, or are going: what is missing is not known any more."""


def altered(raw: bytes, way: str) -> bytes:
    if way == WRONG:
        return raw[:-1] + bytes([raw[-1] ^ 1])
    return raw[:-1] if way == SHORT else raw


class Blobs:
    """`here`: which incoming blobs each node has for certain."""

    def __init__(self, nodes: str, salt: int) -> None:
        self._nodes = nodes
        self._salt = salt
        self.here: dict[str, set[int]] = {who: set() for who in nodes}
        self.touched: dict[str, set[int]] = {who: set() for who in nodes}
        self._open: dict[tuple[str, int], Transaction] = {
            (who, package): Transaction() for who in nodes for package in (0, 1)
        }

    @cached_property
    def packages(self) -> list[Made]:
        return [
            make({f"f{index}": self._content(package, index) for index in range(len(PACKAGE_SIZES))})
            for package in (0, 1)
        ]

    def _content(self, package: int, index: int) -> bytes:
        return self._raw(20 + 10 * package + index, PACKAGE_SIZES[index])

    def _raw(self, seed: int, size: int) -> bytes:
        return Raw(size, seed).of(self._salt)

    def _incoming(self, index: int) -> bytes:
        return self._raw(60 + index, INCOMING_SIZES[index])

    # Blobs

    def incoming(self, who: str, index: int, way: str) -> Step:
        raw = self._incoming(index)
        call = ("write_exact", f".blobfs/incoming/{blob_id(raw)}", altered(raw, way))
        if index in self.here[who]:
            return Step(call, Refused(errno.EEXIST))
        if index in self.touched[who]:
            raise Unclear
        if way != RIGHT:
            return Step(call, Refused(errno.EBADMSG))
        self.here[who].add(index)
        return Step(call, None)

    def blob_cat(self, who: str, index: int) -> Step:
        raw = self._incoming(index)
        call = ("cat", f".blobfs/blobs/{blob_id(raw)}")
        if index in self.here[who]:
            return Step(call, raw)
        if any(index in here for here in self.here.values()):
            self.touched[who].add(index)
            return Step(call, Perhaps(raw, UNREACHABLE))
        return Step(call, Perhaps(Refused(errno.ENOENT), UNREACHABLE))

    # Packages

    def needed_open(self, who: str, package: int) -> Step:
        transaction = self._transaction(who, package)
        call = ("mkdir", self._needed(package))
        if transaction.is_open or transaction.is_complete:
            return Step(call, Refused(errno.EEXIST))
        self._open[who, package] = Transaction(is_open=True, missing=set(self.packages[package].blobs))
        return Step(call, None)

    def _transaction(self, who: str, package: int) -> Transaction:
        transaction = self._open[who, package]
        if transaction.is_uncertain:
            raise Unclear
        return transaction

    def _needed(self, package: int, inside: str = "") -> str:
        return f".blobfs/needed/{self.packages[package].package}{inside}"

    def needed_meta(self, who: str, package: int, way: str) -> Step:
        transaction = self._transaction(who, package)
        call = ("write_exact", self._needed(package, "/meta"), altered(self.packages[package].meta, way))
        if not transaction.is_open:
            return Step(call, Refused(errno.ENOENT))
        if transaction.has_meta:
            return Step(call, Refused(errno.EPERM))
        if way != RIGHT:
            return Step(call, Refused(errno.EBADMSG))
        transaction.has_meta = True
        return Step(call, None)

    def needed_blob(self, who: str, package: int, index: int, way: str) -> Step:
        transaction = self._transaction(who, package)
        blob, raw = sorted(self.packages[package].blobs.items())[index]
        call = ("write_exact", self._needed(package, f"/missing/{blob}"), altered(raw, way))
        if not transaction.is_open:
            return Step(call, Refused(errno.ENOENT))
        if not transaction.has_meta:
            return Step(call, Refused(errno.EPROTO))
        if blob not in transaction.missing:
            return Step(call, Refused(errno.ENOENT))
        if way != RIGHT:
            return Step(call, Refused(errno.EBADMSG if way == WRONG else errno.ENODATA))
        transaction.missing.remove(blob)
        if not transaction.missing:
            transaction.is_open, transaction.is_complete = False, True
        return Step(call, None)

    def needed_list(self, who: str, package: int) -> Step:
        transaction = self._transaction(who, package)
        call = ("listdir", self._needed(package, "/missing"))
        if not transaction.is_open:
            return Step(call, Refused(errno.ENOENT))
        return Step(call, sorted(transaction.missing) if transaction.has_meta else [])

    def needed_state(self, who: str, package: int) -> Step:
        transaction = self._transaction(who, package)
        call = ("cat", self._needed(package, "/state"))
        if not transaction.is_open:
            return Step(call, Refused(errno.ENOENT))
        if not transaction.has_meta:
            return Step(call, b"need-meta\n")
        return Step(call, f"need-blobs {len(transaction.missing)} of {len(PACKAGE_SIZES)}\n".encode())

    def needed_abort(self, who: str, package: int) -> Step:
        transaction = self._transaction(who, package)
        call = ("rmdir", self._needed(package))
        if not transaction.is_open:
            return Step(call, Refused(errno.ENOENT))
        # What was written goes within a second or two; until then it counts, if it is asked for again.
        self._open[who, package] = Transaction(is_uncertain=transaction.has_meta)
        return Step(call, None)

    def package_cat(self, who: str, package: int, index: int) -> Step:
        raw = self._content(package, index)
        call = ("cat", f".blobfs/packages/{self.packages[package].package}/f{index}")
        transaction = self._open[who, package]
        if transaction.is_complete:
            return Step(call, raw)
        if any(self._open[other, package].is_complete for other in self._nodes if other != who):
            transaction.is_uncertain = True
            return Step(call, Perhaps(raw, UNREACHABLE))
        if transaction.is_uncertain:
            raise Unclear
        return Step(call, Perhaps(Refused(errno.ENOENT), UNREACHABLE))
