"""What the shares said about a name, and what that makes of it. Pure.

Three answers are never mixed up: present, absent (every share said so) and unknown (one
could not be asked, and none of the others has it).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from blobfs import errors
from blobfs.model import Attempt, Outcome
from blobfs.record import BlobRecord, DirRecord, GoneRecord, LogRecord, SymlinkRecord
from blobfs.shares.plain import PlainFile
from blobfs.sync.naming.winning import winner
from blobfs.sync.peer import Peer


@dataclass(frozen=True, slots=True)
class Present:
    """A record on a share; `record` is never a tombstone."""

    record: BlobRecord | SymlinkRecord | DirRecord
    peer: Peer | None
    """Where it was found; None is this node."""
    loaded: bool = True
    """False when this node is its publisher."""


@dataclass(frozen=True, slots=True)
class PresentPlain:
    """A file on a plain share: there is no record and no blob id yet."""

    file: PlainFile
    peer: Peer


@dataclass(frozen=True, slots=True)
class Absent:
    """Every share that there is was asked, and none has it."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody has it, but not everybody could be asked."""

    attempts: tuple[Attempt, ...]


Answer = Present | PresentPlain | Absent | Unknown


@dataclass(frozen=True, slots=True)
class ShareAnswer:
    """One share's word: at most one of the three is set; none of them means absent."""

    peer: Peer
    record: LogRecord | None = None
    plain: PlainFile | None = None
    failure: Attempt | None = None


def is_conclusive(answer: ShareAnswer) -> bool:
    """Whether the other shares need not be waited for long. A tombstone: another may have it again."""
    if answer.plain is not None:
        return True
    return answer.record is not None and not isinstance(answer.record, GoneRecord)


def conclude(answers: Sequence[ShareAnswer]) -> Answer:
    """The newest record wins (`winning`); records go before plain files.

    Raises `WrongEverywhere` when a share has a record for the name, none has a good one, and nothing
    else stands in the way of knowing.
    """
    failures = tuple(answer.failure for answer in answers if answer.failure is not None)
    records = [(answer.record, answer.peer) for answer in answers if answer.record is not None]
    if records:
        record, peer = winner(records)
        if not isinstance(record, GoneRecord):
            return Present(record, peer)
        return Unknown(failures) if failures else Absent()
    for answer in answers:
        if answer.plain is not None:
            return PresentPlain(answer.plain, answer.peer)
    if failures and all(failure.outcome is Outcome.WRONG for failure in failures):
        raise errors.WrongEverywhere("a share's record for it cannot be used", failures)
    return Unknown(failures) if failures else Absent()


_BY_OUTCOME: tuple[tuple[Outcome, type[errors.LoadFailed], str], ...] = (
    # What may still be had elsewhere or later goes before what will not change.
    (Outcome.CHANGED, errors.PlainFileChanged, "the file changed on its share"),
    (Outcome.UNREACHABLE, errors.Unreachable, "no share that may have it can be reached"),
    (Outcome.BUSY, errors.BusyEverywhere, "the shares are busy"),
    (Outcome.WRONG, errors.WrongEverywhere, "no share has the right bytes"),
    (Outcome.REFUSED, errors.RefusedEverywhere, "the shares refuse it"),
)


def failure_from(attempts: Sequence[Attempt]) -> errors.LoadFailed:
    """The error that a load's attempts amount to."""
    outcomes = {attempt.outcome for attempt in attempts}
    for outcome, error, words in _BY_OUTCOME:
        if outcome in outcomes:
            return error(words, attempts)
    if not attempts:
        return errors.Unreachable("no share is known", attempts)
    return errors.AbsentEverywhere("no share has it", attempts)
