"""What somebody means who names something to be loaded: a path in the mount, symlinks followed.

::

    <name>                       a blob, or a directory of names; "" is all of them
    .blobfs/blobs/<id>           the package if the blob is a manifest, else the blob
    .blobfs/packages/<id>        the package

Symlinks are followed by their records, never through the mount, which may be stuck.
"""

import posixpath
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from blobfs import errors, model
from blobfs.model import RESERVED_PREFIX, ROOT, BlobId, Invalid, Name, parse_blob_id, parse_name
from blobfs.record import BlobRecord, DirRecord, SymlinkRecord
from blobfs.sync.loading.source import plain_key
from blobfs.sync.naming.answers import Absent, Answer, Present, PresentPlain

MOST_LINKS = 8
"""Symlinks on the way to one thing; over it they are a ring, or a mistake."""

Lookup = Callable[[Name], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class NamedBlob:
    """A name that means a blob; or that could not be looked up, then nothing else is known."""

    name: Name
    size: int | None = None
    key: str | None = None
    """What its load is called."""


@dataclass(frozen=True, slots=True)
class NamedDirectory:
    name: Name


@dataclass(frozen=True, slots=True)
class ById:
    blob: BlobId


@dataclass(frozen=True, slots=True)
class WholePackage:
    package: BlobId


Target = NamedBlob | NamedDirectory | ById | WholePackage


@dataclass(frozen=True, slots=True)
class _Link:
    """A symlink was on the way; go on there."""

    path: str


async def find_target(path: str, lookup: Lookup) -> Target:
    """Raises `NameRefused` for what is no path in a mount; `LoadFailed`; `NotSupported` for a link ring."""
    place = path
    for _ in range(MOST_LINKS + 1):
        place = posixpath.normpath(place)
        if place.partition("/")[0] == RESERVED_PREFIX:
            return _reserved(place)
        if place == ".":
            return NamedDirectory(ROOT)
        found = await _look(_name(place), lookup)
        if not isinstance(found, _Link):
            return found
        place = found.path
    raise errors.NotSupported(f"more than {MOST_LINKS} symlinks on the way")


def package_of(directory: Name, link: SymlinkRecord) -> BlobId | None:
    """The package that a symlink in a directory leads to, if it is one."""
    place = posixpath.normpath(posixpath.join(directory, link.target))
    try:
        found = _reserved(place) if place.partition("/")[0] == RESERVED_PREFIX else None
    except errors.InvalidName:
        return None
    return found.package if isinstance(found, WholePackage) else None


def named_blob(name: Name, found: Present | PresentPlain) -> NamedBlob | None:
    """None: it is no blob."""
    match found:
        case Present(record=BlobRecord(blob=blob, size=size)):
            return NamedBlob(name, size, blob)
        case PresentPlain(file, peer):
            return NamedBlob(name, file.size, plain_key(peer, name, file))
        case _:
            return None


def _reserved(place: str) -> ById | WholePackage:
    view, _, rest = place.removeprefix(RESERVED_PREFIX + "/").partition("/")
    try:
        match view:
            case "blobs":
                return ById(parse_blob_id(rest))
            case "packages" if "/" not in rest:
                return WholePackage(parse_blob_id(rest))
    except Invalid as wrong:
        raise errors.InvalidName(f"{place}: {wrong}") from None
    if view == "packages":
        raise errors.InvalidName(f"{place}: packages are loaded whole")
    raise errors.InvalidName(f"{place}: nothing there can be loaded")


def _name(place: str) -> Name:
    try:
        return parse_name(place)
    except model.TooLong as wrong:
        raise errors.NameTooLong(str(wrong)) from None
    except Invalid as wrong:
        raise errors.InvalidName(str(wrong)) from None


async def _look(name: Name, lookup: Lookup) -> NamedBlob | NamedDirectory | _Link:
    answer = await lookup(name)
    match answer:
        case Present(record=DirRecord()):
            return NamedDirectory(name)
        case Present(record=SymlinkRecord() as link):
            return _Link(_behind(name, link))
        case Present() | PresentPlain():
            return named_blob(name, answer) or NamedBlob(name)
    above = await _look_above(name, lookup)
    if above is not None:
        return above
    if isinstance(answer, Absent):
        raise errors.AbsentEverywhere("no share has it")
    return NamedBlob(name)  # whoever loads it asks again, in rounds, and has the words if that fails


async def _look_above(name: Name, lookup: Lookup) -> _Link | None:
    """The first symlink among the directories that a name is in."""
    parts = name.split("/")
    for end in range(1, len(parts)):
        directory = Name("/".join(parts[:end]))
        match await lookup(directory):
            case Present(record=SymlinkRecord() as link):
                return _Link(posixpath.join(_behind(directory, link), *parts[end:]))
            case Absent():
                return None
    return None


def _behind(name: Name, link: SymlinkRecord) -> str:
    return posixpath.join(posixpath.dirname(name), link.target)
