"""What the shares' words about a name amount to, and what failed requests amount to."""

from collections.abc import Sequence

import pytest

from blobfs import errors
from blobfs.model import Attempt, Outcome
from blobfs.record import DirRecord, GoneRecord, LogRecord, SymlinkRecord
from blobfs.shares.plain import PlainFile
from blobfs.shares.retry_rules import RULES, failed_attempt
from blobfs.sync.naming.answers import (
    Absent,
    Present,
    PresentPlain,
    ShareAnswer,
    Unknown,
    conclude,
    failure_from,
    is_conclusive,
)
from blobfs.sync.peer import Peer
from tests.sync.fake_share import FakeShare, record_of

ONE, TWO, THREE = (Peer(FakeShare(f"http://{name}/")) for name in ("one", "two", "three"))
PLAIN = Peer(FakeShare("http://plain/", plain=True))
FILE = PlainFile(3, '"1"', None, '"1"')

OLD, NEW = record_of(b"old", 1), record_of(b"new", 2)


def said(peer: Peer, record: LogRecord | None = None) -> ShareAnswer:
    return ShareAnswer(peer, record=record)


def failed(peer: Peer, outcome: Outcome) -> ShareAnswer:
    return ShareAnswer(peer, failure=attempt(outcome, peer.shown))


def attempt(outcome: Outcome, share: str = "http://one/") -> Attempt:
    """One of some kind that has this outcome."""
    kind = next(kind for kind, rule in RULES.items() if rule.outcome is outcome)
    return failed_attempt(share, "blob", kind, kind)


def test_the_newest_record_wins() -> None:
    """Whichever share comes first."""
    assert conclude([said(ONE, OLD), said(TWO, NEW)]) == Present(NEW, TWO)
    assert conclude([said(ONE, NEW), said(TWO, OLD)]) == Present(NEW, ONE)


def test_of_equally_new_records_the_same_one_wins_everywhere() -> None:
    """What they say decides and not the order of the shares, so that all nodes agree."""
    other = record_of(b"other", NEW.published_ns)
    answers = [said(ONE), said(TWO, other), said(THREE, NEW)]
    assert (
        conclude(answers)
        == conclude(answers[::-1])
        == Present(max(other, NEW, key=lambda record: record.blob), TWO if other.blob > NEW.blob else THREE)
    )


def test_a_newer_tombstone_buries_a_record_and_an_older_one_does_not() -> None:
    """A name that was removed is absent; one that was shared again since is there."""
    assert conclude([said(ONE, OLD), said(TWO, GoneRecord(2))]) == Absent()
    assert conclude([said(ONE, GoneRecord(1)), said(TWO, NEW)]) == Present(NEW, TWO)


def test_one_share_s_tombstone_buries_no_other_share_s_directory() -> None:
    """A directory may hold names of several nodes; the one that removed its own speaks for itself."""
    directory = DirRecord(0, 0)
    assert conclude([said(ONE, GoneRecord(9)), said(TWO, directory)]) == Present(directory, TWO)


def test_symlinks_and_directories_are_present_like_blobs() -> None:
    """The kind of a record does not matter to who wins."""
    link = SymlinkRecord("target", 3, 3)
    assert conclude([said(ONE, DirRecord(0, 0)), said(TWO, link)]) == Present(link, TWO)


def test_records_go_before_plain_files() -> None:
    """What can be verified is better; without a record the first plain share counts."""
    plain = ShareAnswer(PLAIN, plain=FILE)
    assert conclude([plain, said(TWO, OLD)]) == Present(OLD, TWO)
    assert conclude([said(ONE), plain]) == PresentPlain(FILE, PLAIN)


def test_absent_is_when_every_share_said_so() -> None:
    """P4: one that could not be asked makes it unknown."""
    assert conclude([]) == Absent()
    assert conclude([said(ONE), said(TWO)]) == Absent()
    unreachable = failed(TWO, Outcome.UNREACHABLE)
    assert conclude([said(ONE), unreachable]) == Unknown((unreachable.failure,))  # type: ignore[arg-type]


def test_a_record_counts_although_another_share_failed() -> None:
    """What is known is known."""
    assert conclude([failed(ONE, Outcome.UNREACHABLE), said(TWO, OLD)]) == Present(OLD, TWO)


def test_a_tombstone_is_no_absence_while_another_share_cannot_be_asked() -> None:
    """P4: there the name may have been shared again since."""
    unreachable = failed(TWO, Outcome.UNREACHABLE)
    assert conclude([said(ONE, GoneRecord(5)), unreachable]) == Unknown((unreachable.failure,))  # type: ignore[arg-type]


def test_only_an_unusable_record_is_wrong() -> None:
    """It is an error of its own when nothing else stands in the way of knowing, else it is unknown."""
    with pytest.raises(errors.WrongEverywhere) as caught:
        conclude([said(ONE), failed(TWO, Outcome.WRONG)])
    assert [each.share for each in caught.value.attempts] == ["http://two/"]
    assert conclude([said(ONE, OLD), failed(TWO, Outcome.WRONG)]) == Present(OLD, ONE)
    assert isinstance(conclude([failed(ONE, Outcome.UNREACHABLE), failed(TWO, Outcome.WRONG)]), Unknown)


def test_only_what_is_there_cuts_the_waiting_short() -> None:
    """A tombstone waits for the other shares: one of them may have the name again."""
    assert is_conclusive(said(ONE, OLD))
    assert is_conclusive(ShareAnswer(PLAIN, plain=FILE))
    assert not is_conclusive(said(ONE))
    assert not is_conclusive(said(ONE, GoneRecord(1)))
    assert not is_conclusive(failed(ONE, Outcome.UNREACHABLE))


CLASSES = {
    Outcome.ABSENT: errors.AbsentEverywhere,
    Outcome.UNREACHABLE: errors.Unreachable,
    Outcome.REFUSED: errors.RefusedEverywhere,
    Outcome.BUSY: errors.BusyEverywhere,
    Outcome.WRONG: errors.WrongEverywhere,
    Outcome.CHANGED: errors.PlainFileChanged,
}


@pytest.mark.parametrize("outcome", CLASSES)
def test_each_outcome_has_its_error(outcome: Outcome) -> None:
    """When every share answered the same, the error says it."""
    attempts = [attempt(outcome), attempt(outcome, "http://two/")]
    failure = failure_from(attempts)
    assert type(failure) is CLASSES[outcome]
    assert failure.attempts == tuple(attempts)


PRECEDENCE = (
    Outcome.CHANGED,
    Outcome.UNREACHABLE,
    Outcome.BUSY,
    Outcome.WRONG,
    Outcome.REFUSED,
    Outcome.ABSENT,
)


@pytest.mark.parametrize(
    ("before", "after"),
    [(one, two) for number, one in enumerate(PRECEDENCE) for two in PRECEDENCE[number + 1 :]],
)
def test_what_may_still_be_had_goes_before_what_will_not_change(before: Outcome, after: Outcome) -> None:
    """In whatever order the attempts were made."""
    mixed: Sequence[Attempt] = [attempt(after), attempt(before)]
    assert type(failure_from(mixed)) is type(failure_from(mixed[::-1])) is CLASSES[before]


def test_no_share_at_all_is_unreachable_and_not_absent() -> None:
    """P4: nobody was asked."""
    assert type(failure_from([])) is errors.Unreachable
