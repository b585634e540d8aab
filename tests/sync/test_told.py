"""What readers were told: what is noted, what counts up, and how much is kept."""

import errno

import pytest

from blobfs import errors
from blobfs.model import Kind
from blobfs.shares.retry_rules import failed_attempt
from blobfs.sync.told import KEPT, ToldFailures, errno_name

ATTEMPT = failed_attempt("http://one/", "blob", Kind.CONNECT_REFUSED, "connection refused")
DEAD = errors.Unreachable("no share can be reached", [ATTEMPT])


@pytest.mark.parametrize(
    "error",
    [
        errors.NameMissing("x"),
        errors.Sealed("x"),
        errors.InvalidName("x"),
        errors.WrongContent("x"),
        errors.WouldBlock("x"),
        errors.Interrupted("x"),
    ],
)
async def test_a_callers_own_mistakes_are_no_failures(error: errors.BlobfsError) -> None:
    """Nor is a name that is nowhere, a signal, or a read that was not to wait."""
    told = ToldFailures()
    told.note("read", "f", error)
    assert told.latest() == []


@pytest.mark.parametrize("error", [DEAD, errors.DeadlineExceeded("late"), errors.StoreFull("full")])
async def test_what_fails_by_shares_or_by_the_disk_is_noted(error: errors.BlobfsError) -> None:
    """With the errno of the answer, the message, and every attempt."""
    told = ToldFailures()
    told.note("read", "f", error)
    (found,) = told.latest()
    assert (found.operation, found.what, found.message) == ("read", "f", str(error))
    assert errno_name(found) == errno.errorcode[error.errno]
    assert found.attempts == (error.attempts if isinstance(error, errors.LoadFailed) else ())
    assert found.count == 1


async def test_what_is_told_again_counts_up_and_stands_first() -> None:
    """The kernel asks again and many read the same: one entry, the newest message."""
    told = ToldFailures()
    for what in ("f", "g", "f"):
        told.note("read", what, errors.DeadlineExceeded(f"late for {what}"))
    told.note("read", "f", DEAD)
    told.note("read", "f", errors.DeadlineExceeded("later for f"))
    assert [(each.what, each.message, each.count) for each in told.latest()] == [
        ("f", "later for f", 3),
        ("f", str(DEAD), 1),
        ("g", "late for g", 1),
    ]


async def test_lookups_are_counted_together() -> None:
    """`find` over a dead share must not push everything else out: the last name stands for all."""
    told = ToldFailures()
    told.note("read", "f", DEAD)
    for number in range(10 * KEPT):
        told.note("lookup", f"d/{number}", DEAD, answer=errors.NameMissing)
    last, first = told.latest()
    assert (last.what, last.count, errno_name(last)) == (f"d/{10 * KEPT - 1}", 10 * KEPT, "ENOENT")
    assert first.operation == "read"


async def test_only_the_last_are_kept() -> None:
    """As many as `KEPT`; the oldest go."""
    told = ToldFailures()
    for number in range(KEPT + 7):
        told.note("read", str(number), DEAD)
    assert [each.what for each in told.latest()] == [str(number) for number in range(KEPT + 6, 6, -1)]
    assert len(told) == KEPT
