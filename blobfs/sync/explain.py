"""Explaining a name or a blob from what is known here. Asks no share, waits for none, changes nothing."""

import errno
import os
from dataclasses import dataclass, replace

import trio

from blobfs.model import CHUNK_SIZE, ROOT, BlobId, Name, split
from blobfs.record import BlobRecord, DirRecord, GoneRecord, LogRecord, SymlinkRecord, record_fields
from blobfs.shares.health import Circuit
from blobfs.store import sealed
from blobfs.store.opening import Store
from blobfs.sync.explanation import Explanation, LoadUnderWay, RequestUnderWay, Seen, ShareWord, Told
from blobfs.sync.failures import Failure
from blobfs.sync.loading.load import Load
from blobfs.sync.loading.source import PlainSource, plain_key
from blobfs.sync.loading.span import Span
from blobfs.sync.naming.catalogue import blob_key
from blobfs.sync.naming.winning import winner
from blobfs.sync.peer import Peer
from blobfs.sync.service import SyncService

_KINDS = {SymlinkRecord: "symlink", DirRecord: "directory", GoneRecord: "removed"}


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What the name or the id stands for, as far as is known; `key` is what its bytes are called."""

    kind: str | None = None
    origin: str | None = None
    record: LogRecord | None = None
    key: str | None = None
    size: int | None = None


async def explain_name(sync: SyncService, name: Name, seen: Seen) -> Explanation:
    """`seen` is what the mount takes the name for."""
    meaning = await _meaning_of_name(sync, name, seen)
    found = await _explain(sync, meaning, seen)
    load = sync.loads.load_of(meaning.key) if meaning.key is not None else None
    asked = [] if meaning.origin == "own" else await _asked_for(sync, name)
    lookup = _last_failure(sync, asked)
    absent = _last_absence(sync, asked) if meaning.kind in (None, "removed") else None
    found = replace(
        found,
        name=str(name),
        blob=meaning.record.blob if isinstance(meaning.record, BlobRecord) else None,
        lookup=_told(lookup[1]) if lookup is not None else None,
        lookup_of=lookup[0] if lookup is not None else None,
        absent_ago=_ago(absent[1]) if absent is not None else None,
        absent_of=absent[0] if absent is not None else None,
        shares=tuple(_word(sync, peer, name, meaning, seen, load) for peer in _peers(sync, load)),
    )
    return replace(found, is_known=_is_known(found))


async def explain_blob(sync: SyncService, blob: BlobId, seen: Seen) -> Explanation:
    """A blob by its id, whatever names it has."""
    size = await sync.disk.run(_size_here, sync.store, blob)
    load = sync.loads.load_of(blob)
    if load is not None:
        size = load.size
    elif size is None and isinstance(seen.record, BlobRecord):
        size = seen.record.size
    kind = "blob" if size is not None or seen.writing is not None else None
    meaning = _Meaning(kind, None, None, blob, size)
    name = next(iter(load.names), None) if load is not None else None
    found = replace(
        await _explain(sync, meaning, seen),
        blob=str(blob),
        lookup=_told(sync.catalogue.unknown.of(blob_key(blob))),
        lookup_of=blob_key(blob),
        shares=tuple(_word(sync, peer, name, meaning, Seen(), load) for peer in _peers(sync, load)),
    )
    return replace(found, is_known=_is_known(found))


def _is_known(found: Explanation) -> bool:
    facts = (found.kind, found.load, found.last_error, found.lookup, found.absent_ago)
    return any(fact is not None for fact in facts)


def _size_here(store: Store, blob: BlobId) -> int | None:
    """Of a blob that is whole or partly on the disk. Blocks."""
    size = sealed.blob_size(store, blob)
    if size is not None:
        return size
    try:
        return os.stat(store.layout.partial_content(blob)).st_size
    except OSError:
        return None


# What the shares were asked


async def _asked_for(sync: SyncService, name: Name) -> list[Name]:
    """The name and the directories above it, as far as they are not here: the kernel asks for one by one."""
    asked = [name]
    parent = split(name)[0]
    while parent:
        here = await sync.namespace.entry(parent)
        if here is not None and not isinstance(here.record, GoneRecord):
            break
        asked.append(parent)
        parent = split(parent)[0]
    return asked


def _last_failure(sync: SyncService, names: list[Name]) -> tuple[str, Failure] | None:
    unknown = sync.catalogue.unknown
    found = [(str(name), failure) for name in names if (failure := unknown.of(name)) is not None]
    return max(found, key=lambda pair: pair[1].at, default=None)


def _last_absence(sync: SyncService, names: list[Name]) -> tuple[str, float] | None:
    since = sync.catalogue.absent_since
    found = [(str(name), moment) for name in names if (moment := since(name)) is not None]
    return max(found, key=lambda pair: pair[1], default=None)


# What it means


async def _meaning_of_name(sync: SyncService, name: Name, seen: Seen) -> _Meaning:
    """The newest of what this node, the shares' kept logs, the mount and the loads say."""
    if name == ROOT:
        return _Meaning("directory", "own", DirRecord(0, 0))
    if seen.writing is not None:
        return _Meaning("file", "own", None, None, seen.size)
    loads = sync.loads.loads_of(name)
    plain = _plain_meaning(name, seen, loads)
    known = await _records(sync, name, seen, loads)
    if not known:
        return plain or _Meaning()
    record, origin = winner(known)  # this node's own word of equals
    match record:
        case GoneRecord() if plain is not None:
            return plain
        case BlobRecord(blob, size):
            return _Meaning("file", origin, record, blob, size)
    return _Meaning(_KINDS[type(record)], origin, record)


async def _records(
    sync: SyncService, name: Name, seen: Seen, loads: list[Load]
) -> list[tuple[LogRecord, str]]:
    """Every record of the name that is known, with where it is from; this node's own first."""
    known: list[tuple[LogRecord, str]] = []
    here = await sync.namespace.entry(name)
    if here is not None:
        known.append((here.record, "loaded" if here.loaded else "own"))
    known += [(record, "shares") for record, _ in sync.catalogue.kept(name)]
    if seen.record is not None:
        known.append((seen.record, "own" if seen.is_own else "shares"))
    fetched = (load.names[name] for load in loads)
    return known + [(record, "shares") for record in fetched if record is not None]


def _plain_meaning(name: Name, seen: Seen, loads: list[Load]) -> _Meaning | None:
    if seen.plain is not None and seen.peer is not None:
        return _Meaning("plain file", "shares", None, plain_key(seen.peer, name, seen.plain), seen.plain.size)
    for load in loads:
        if isinstance(load.source, PlainSource):
            return _Meaning("plain file", "shares", None, load.key, load.size)
    return None


async def _explain(sync: SyncService, meaning: _Meaning, seen: Seen) -> Explanation:
    """Without what depends on its being a name or a blob."""
    load = sync.loads.load_of(meaning.key) if meaning.key is not None else None
    state, present = await _state(sync, meaning, seen)
    failure = sync.loads.last_failure(meaning.key) if meaning.key is not None else None
    return Explanation(
        name=None,
        blob=None,
        is_known=False,
        kind=meaning.kind,
        origin=meaning.origin,
        state=state,
        size=meaning.size,
        present=present,
        record=_shown(meaning.record),
        writing=seen.writing,
        load=None if load is None else _load(load),
        last_error=_told(failure),
        lookup=None,
        lookup_of=None,
        absent_ago=None,
        absent_of=None,
        shares=(),
    )


async def _state(sync: SyncService, meaning: _Meaning, seen: Seen) -> tuple[str | None, int | None]:
    """As ``user.blobfs.state`` has it, and how many bytes are here."""
    if seen.writing is not None:
        return "writing", seen.size
    if meaning.key is None or meaning.size is None:
        return None, None
    if meaning.origin == "own":
        return "sealed", meaning.size
    present = sync.loads.present_bytes(meaning.key, meaning.size)
    is_here = present == meaning.size
    if not meaning.size:
        is_here = await sync.disk.run(sealed.has, sync.store, BlobId(meaning.key))
    return "whole" if is_here else "partial" if present else "missing", present


# Shares


def _peers(sync: SyncService, load: Load | None) -> list[Peer]:
    others = [] if load is None else [peer for peer in load.peers if peer not in sync.peers]
    return [*sync.peers, *others]


def _word(
    sync: SyncService, peer: Peer, name: Name | None, meaning: _Meaning, seen: Seen, load: Load | None
) -> ShareWord:
    now = trio.current_time()
    said = None if name is None else sync.catalogue.said(peer, *split(name))
    log = said if meaning.kind != "directory" or name is None else sync.catalogue.said(peer, name, "")
    record = said.record if said is not None else None
    if record is None and seen.peer is peer:
        record = seen.record
    circuit, until = peer.health.circuit(now), peer.health.statistics().down_until
    verdicts = [] if load is None else load.verdicts()
    return ShareWord(
        url=peer.shown,
        plain=peer.is_plain,
        group=peer.share.options.group,
        record=_shown(record),
        log_read_ago=_ago(log.read) if log is not None else None,
        log_failure=log.failure if log is not None else None,
        circuit=circuit.value,
        next_try_in=_rounded(until - now) if circuit is Circuit.OPEN and until is not None else None,
        last_failure=peer.last_failure,
        failed_ago=_ago(peer.last_failed),
        answered_ago=_ago(peer.last_answered),
        struck_for=peer.struck_for,
        verdict=next((each for each in verdicts if each.share == peer.shown), None),
    )


# The load


def _load(load: Load) -> LoadUnderWay:
    return LoadUnderWay(
        readers=load.readers,
        requests=tuple(request for span in load.spans for request in _requests(load, span)),
        attempts=tuple(attempt for span in load.spans for attempt in span.attempts),
        names=tuple(map(str, load.names)),
    )


def _requests(load: Load, span: Span) -> list[RequestUnderWay]:
    offset = span.first * CHUNK_SIZE
    waits = RequestUnderWay(
        offset, min(span.stop * CHUNK_SIZE, load.size) - offset, span.urgency.name.lower()
    )
    now = trio.current_time()
    return [
        replace(
            waits,
            share=runner.peer.shown,
            asked_ago=_rounded(now - runner.asked),
            silent_for=_rounded(max(now - runner.silent_since, 0.0)),  # what is being kept owes nothing
            received=runner.received,
            kept=runner.kept,
        )
        for runner in span.runners()
    ] or [waits]


# Values


def _told(failure: Failure | None) -> Told | None:
    if failure is None:
        return None
    code = errno.errorcode[failure.error.errno]
    seconds = _rounded(trio.current_time() - failure.at)
    return Told(code, f"{code}: {failure.error}", seconds, failure.attempts)


def _shown(record: LogRecord | None) -> dict[str, object] | None:
    return None if record is None else record_fields(record)


def _ago(moment: float | None) -> float | None:
    return None if moment is None else _rounded(trio.current_time() - moment)


def _rounded(seconds: float) -> float:
    return round(seconds, 3)
