"""The NeededBlobs transaction as a table: which event is legal in which state, and what comes of it. Pure.

1. Everything that can happen to a transaction is an event, and every state has an answer to every event:
   `TABLE` has no holes.
2. An event that is refused changes nothing: a call that comes at the wrong time fails alone.
3. Only bytes that are right move a transaction forward. Where they come from does not matter: they were
   written, or they appeared from elsewhere (another transaction, a load, a name that was shared).
4. COMPLETE and ABORTED are the ends. FAILED is for what no writer can mend: right bytes that are no manifest,
   manifests that contradict each other. It can be looked at until it is aborted or expires.

The protocol is Fuchsia's (fuchsia.pkg, NeededBlobs), and so are the names of the errors.
"""

from dataclasses import dataclass
from enum import StrEnum

from blobfs import errors


class State(StrEnum):
    ABSENT = "absent"  # nobody has opened it
    NEED_META = "need-meta"
    NEED_BLOBS = "need-blobs"
    COMPLETE = "complete"
    FAILED = "failed"
    ABORTED = "aborted"


class Event(StrEnum):
    OPEN = "open"  # mkdir needed/<id>
    OPEN_META = "open meta"
    OPEN_NEEDED = "open needed"  # missing/<id> of a blob that is missing
    OPEN_OTHER = "open other"  # of any other one
    WRITTEN = "written"  # right bytes; something is missing still
    WRITTEN_LAST = "written last"  # right bytes; nothing is missing any more
    APPEARED = "appeared"  # from elsewhere; something is missing still
    APPEARED_LAST = "appeared last"
    REJECTED = "rejected"  # wrong, too few or too many bytes
    UNUSABLE = "unusable"  # right bytes of a meta blob that is no manifest, or contradicts another
    LIST = "list"
    ABORT = "abort"
    EXPIRE = "expire"


@dataclass(frozen=True, slots=True)
class Rule:
    """What comes of an event. The caller gets `error`, or success; `status` is the protocol's word for it."""

    state: State
    error: type[errors.BlobfsError] | None = None
    status: str = "OK"


_A, _M, _B = State.ABSENT, State.NEED_META, State.NEED_BLOBS
_C, _F, _X = State.COMPLETE, State.FAILED, State.ABORTED

_GONE = (errors.NameMissing, "NOT_FOUND")
_THERE = (errors.NameExists, "ALREADY_EXISTS")
_TOO_EARLY = (errors.WrongState, "BAD_STATE")
_NOT_NEEDED = (errors.NameMissing, "UNOPENED_BLOB")
_REJECTED = (errors.WrongContent, "NOT_WRITTEN")
_STALE = (errors.StaleHandle, "CANCELED")

TABLE: dict[tuple[State, Event], Rule] = {
    # Nobody has opened it: there is no directory to do anything in.
    (_A, Event.OPEN): Rule(_M),
    (_A, Event.OPEN_META): Rule(_A, *_GONE),
    (_A, Event.OPEN_NEEDED): Rule(_A, *_GONE),
    (_A, Event.OPEN_OTHER): Rule(_A, *_GONE),
    (_A, Event.WRITTEN): Rule(_A, *_GONE),
    (_A, Event.WRITTEN_LAST): Rule(_A, *_GONE),
    (_A, Event.APPEARED): Rule(_A),
    (_A, Event.APPEARED_LAST): Rule(_A),
    (_A, Event.REJECTED): Rule(_A, *_GONE),
    (_A, Event.UNUSABLE): Rule(_A, *_GONE),
    (_A, Event.LIST): Rule(_A, *_GONE),
    (_A, Event.ABORT): Rule(_A, *_GONE),
    (_A, Event.EXPIRE): Rule(_A),
    # The meta blob is missing: what else is needed is not known yet.
    (_M, Event.OPEN): Rule(_M, *_THERE),
    (_M, Event.OPEN_META): Rule(_M),
    (_M, Event.OPEN_NEEDED): Rule(_M, *_TOO_EARLY),
    (_M, Event.OPEN_OTHER): Rule(_M, *_TOO_EARLY),
    (_M, Event.WRITTEN): Rule(_B),
    (_M, Event.WRITTEN_LAST): Rule(_C),
    (_M, Event.APPEARED): Rule(_B),
    (_M, Event.APPEARED_LAST): Rule(_C),
    (_M, Event.REJECTED): Rule(_M, *_REJECTED),
    (_M, Event.UNUSABLE): Rule(_F, *_REJECTED),
    (_M, Event.LIST): Rule(_M),
    (_M, Event.ABORT): Rule(_X),
    (_M, Event.EXPIRE): Rule(_X),
    # Content, or the meta blobs of nested packages, are missing.
    (_B, Event.OPEN): Rule(_B, *_THERE),
    (_B, Event.OPEN_META): Rule(_B, *_THERE),
    (_B, Event.OPEN_NEEDED): Rule(_B),
    (_B, Event.OPEN_OTHER): Rule(_B, *_NOT_NEEDED),
    (_B, Event.WRITTEN): Rule(_B),
    (_B, Event.WRITTEN_LAST): Rule(_C),
    (_B, Event.APPEARED): Rule(_B),
    (_B, Event.APPEARED_LAST): Rule(_C),
    (_B, Event.REJECTED): Rule(_B, *_REJECTED),
    (_B, Event.UNUSABLE): Rule(_F, *_REJECTED),
    (_B, Event.LIST): Rule(_B),
    (_B, Event.ABORT): Rule(_X),
    (_B, Event.EXPIRE): Rule(_X),
    # Complete: the directory is gone. Who still has something of it open has nothing left to do.
    (_C, Event.OPEN): Rule(_C, *_THERE),
    (_C, Event.OPEN_META): Rule(_C, *_THERE),
    (_C, Event.OPEN_NEEDED): Rule(_C, *_NOT_NEEDED),
    (_C, Event.OPEN_OTHER): Rule(_C, *_NOT_NEEDED),
    (_C, Event.WRITTEN): Rule(_C),
    (_C, Event.WRITTEN_LAST): Rule(_C),
    (_C, Event.APPEARED): Rule(_C),
    (_C, Event.APPEARED_LAST): Rule(_C),
    (_C, Event.REJECTED): Rule(_C),
    (_C, Event.UNUSABLE): Rule(_C),
    (_C, Event.LIST): Rule(_C),
    (_C, Event.ABORT): Rule(_C, *_GONE),
    (_C, Event.EXPIRE): Rule(_C),
    # Failed: it says why, and waits to be aborted.
    (_F, Event.OPEN): Rule(_F, *_THERE),
    (_F, Event.OPEN_META): Rule(_F, *_TOO_EARLY),
    (_F, Event.OPEN_NEEDED): Rule(_F, *_TOO_EARLY),
    (_F, Event.OPEN_OTHER): Rule(_F, *_TOO_EARLY),
    (_F, Event.WRITTEN): Rule(_F),
    (_F, Event.WRITTEN_LAST): Rule(_F),
    (_F, Event.APPEARED): Rule(_F),
    (_F, Event.APPEARED_LAST): Rule(_F),
    (_F, Event.REJECTED): Rule(_F, *_REJECTED),
    (_F, Event.UNUSABLE): Rule(_F, *_REJECTED),
    (_F, Event.LIST): Rule(_F),
    (_F, Event.ABORT): Rule(_X),
    (_F, Event.EXPIRE): Rule(_X),
    # Aborted: it can be opened anew; what was opened before is stale.
    (_X, Event.OPEN): Rule(_M),
    (_X, Event.OPEN_META): Rule(_X, *_STALE),
    (_X, Event.OPEN_NEEDED): Rule(_X, *_STALE),
    (_X, Event.OPEN_OTHER): Rule(_X, *_STALE),
    (_X, Event.WRITTEN): Rule(_X, *_STALE),
    (_X, Event.WRITTEN_LAST): Rule(_X, *_STALE),
    (_X, Event.APPEARED): Rule(_X),
    (_X, Event.APPEARED_LAST): Rule(_X),
    (_X, Event.REJECTED): Rule(_X, *_STALE),
    (_X, Event.UNUSABLE): Rule(_X, *_STALE),
    (_X, Event.LIST): Rule(_X, *_STALE),
    (_X, Event.ABORT): Rule(_X, *_GONE),
    (_X, Event.EXPIRE): Rule(_X),
}
"""Every event in every state."""

ENDS = frozenset({State.COMPLETE, State.ABORTED})
"""The states of a transaction that is no longer open."""


def step(state: State, event: Event) -> Rule:
    """What comes of an event."""
    return TABLE[state, event]
