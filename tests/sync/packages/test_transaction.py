"""What a transaction knows: what it needs, what is missing of it, what went wrong last."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blobfs import errors
from blobfs.manifest import MAX_NESTING, File, Nested, parse_manifest, render_manifest
from blobfs.model import BlobId
from blobfs.sync.packages.transaction import LastError, Need, Transaction, Unusable
from blobfs.sync.packages.transition import Event, State
from tests.sync.fake_share import blob_of
from tests.sync.packages.made import Made, make

INNER = make({"c": b"three", "d": b"two"})
OUTER = make({"a": b"one", "b": b"two"}, nested={"inner": INNER})
ONE, TWO, THREE = (blob_of(raw) for raw in (b"one", b"two", b"three"))
WRONG = errors.WrongContent("3 bytes that are not the blob")


def grow(known: Transaction, made: Made, present: set[BlobId] | None = None) -> None:
    """As whoever reads a meta blob that is here: what it needs is added, then the blob is taken."""
    grown = known.grown_by(made.package, parse_manifest(made.meta))
    known.grow(grown, [blob for blob in grown if blob not in (present or set())])
    known.take(made.package, written=True)


def in_need_of(*blobs: BlobId) -> Transaction:
    known = Transaction(OUTER.package)
    grow(known, OUTER, {ONE, TWO, INNER.package} - set(blobs))
    return known


def test_at_first_it_needs_its_meta_blob_which_is_not_listed() -> None:
    """What else is needed nobody knows: the list is empty."""
    known = Transaction(OUTER.package)
    assert known.state is State.NEED_META
    assert known.missing() == []
    assert known.is_missing(OUTER.package)
    assert known.nothing_but({OUTER.package})
    assert not known.nothing_but({ONE})
    assert known.summary == "need-meta"


def test_a_meta_blob_says_what_is_needed() -> None:
    """Content with its size, the meta blobs of nested packages without; what is here is not missing."""
    known = Transaction(OUTER.package)
    grow(known, OUTER, present={ONE})
    assert known.state is State.NEED_BLOBS
    assert known.needs[ONE] == Need(3, None)
    assert known.needs[INNER.package] == Need(None, 1)
    assert known.missing() == sorted([TWO, INNER.package])
    assert known.summary == "need-blobs 2 of 3"


def test_a_nested_meta_blob_adds_what_is_not_needed_yet() -> None:
    """A blob that both packages have is needed once."""
    known = in_need_of(ONE, TWO, INNER.package)
    grown = known.grown_by(INNER.package, parse_manifest(INNER.meta))
    assert grown == {THREE: Need(5, None)}
    known.grow(grown, [THREE])
    known.take(INNER.package, written=True)
    assert known.missing() == sorted([ONE, TWO, THREE])
    assert known.summary == "need-blobs 3 of 4"


def test_what_is_taken_is_missing_no_more() -> None:
    """One after the other; the last one leaves the state to `complete`, which comes when the disk has it."""
    known = in_need_of(ONE, TWO)
    known.take(TWO, written=False)
    assert known.missing() == [ONE]
    known.take(TWO, written=True)
    assert known.missing() == [ONE]
    known.take(ONE, written=True)
    assert known.missing() == []
    assert known.nothing_but(())
    assert known.summary == "need-blobs 0 of 3"
    known.complete(written=True)
    assert known.state is State.COMPLETE
    assert known.summary == "complete"


@given(st.permutations([ONE, TWO, INNER.package]), st.sets(st.sampled_from([ONE, TWO, INNER.package])))
def test_what_is_missing_is_sorted_and_exact(order: list[BlobId], present: set[BlobId]) -> None:
    """In whatever order blobs come."""
    known = in_need_of(*({ONE, TWO, INNER.package} - present))
    left = {ONE, TWO, INNER.package} - present
    for blob in order:
        assert known.missing() == sorted(left)
        assert [known.is_missing(each) for each in order] == [each in left for each in order]
        left.discard(blob)
        known.take(blob, written=True)
    assert known.nothing_but(())


def test_content_that_is_a_manifest_too_is_read_as_one() -> None:
    """A package may be some file's content and nested as well: it keeps the size and is nested."""
    both = make({"as-file": INNER.meta}, nested={"as-package": INNER})
    known = Transaction(both.package)
    grow(known, both)
    assert known.needs[INNER.package] == Need(len(INNER.meta), 1)


def test_a_meta_blob_that_turns_out_to_be_content_has_a_size() -> None:
    """It was needed as a package; another manifest has it as a file."""
    file = make({"as-file": INNER.meta})
    outer = make({}, nested={"1": INNER, "2": file})
    known = Transaction(outer.package)
    grow(known, outer)
    grow(known, file)
    assert known.needs[INNER.package] == Need(len(INNER.meta), 1)


def lying(blob: BlobId, size: int) -> Made:
    """A package with one file, of whatever size."""
    meta = render_manifest([File(b"f", 0o644, size, 0, blob)])
    return Made(blob_of(meta), meta, {})


def test_manifests_that_contradict_each_other_cannot_be_used() -> None:
    """One of the two sizes is wrong, so the package can never be read as both say."""
    wrong = lying(TWO, 4)
    outer = make({"b": b"two"}, nested={"n": wrong})
    known = Transaction(outer.package)
    grow(known, outer)
    with pytest.raises(Unusable, match=f"{TWO} 3 bytes, another 4"):
        known.grown_by(wrong.package, parse_manifest(wrong.meta))
    assert known.missing() == sorted([TWO, wrong.package])


def nested_deep(depth: int) -> list[Made]:
    """Packages, each in the one before it."""
    found = [make({"f": b"innermost"})]
    for _ in range(depth):
        found.append(make({}, nested={"n": found[-1]}))
    return found[::-1]


def test_packages_nest_up_to_a_limit() -> None:
    """What is deeper cannot be used; what reaches the limit can."""
    known = Transaction((chain := nested_deep(MAX_NESTING + 1))[0].package)
    for made in chain[:MAX_NESTING]:
        grow(known, made)
    assert known.missing() == [chain[MAX_NESTING].package]
    with pytest.raises(Unusable, match="nested more than 16 deep"):
        known.grown_by(chain[MAX_NESTING].package, parse_manifest(chain[MAX_NESTING].meta))


@pytest.mark.parametrize(
    ("state", "blob", "error"),
    [
        (State.NEED_META, ONE, errors.WrongState),
        (State.NEED_BLOBS, ONE, None),
        (State.NEED_BLOBS, THREE, errors.NameMissing),
        (State.FAILED, ONE, errors.WrongState),
        (State.ABORTED, ONE, errors.StaleHandle),
    ],
)
def test_which_blobs_may_be_opened(state: State, blob: BlobId, error: type[Exception] | None) -> None:
    """Those that are missing, while blobs are what is needed; refusing changes nothing."""
    known = Transaction(OUTER.package) if state is State.NEED_META else in_need_of(ONE, TWO)
    if state is State.FAILED:
        known.fail(OUTER.package, "for this test")
    if state is State.ABORTED:
        known.abort()
    before = (known.state, known.missing(), known.last_error)
    if error is None:
        known.demand_open(blob)
    else:
        with pytest.raises(error, match=OUTER.package):
            known.demand_open(blob)
    assert (known.state, known.missing(), known.last_error) == before


def test_wrong_bytes_are_noted_and_change_nothing_else() -> None:
    """The blob can be written again."""
    known = in_need_of(ONE)
    known.reject(ONE, WRONG)
    assert known.last_error == LastError("NOT_WRITTEN", errno.EBADMSG, ONE, str(WRONG))
    assert (known.state, known.missing()) == (State.NEED_BLOBS, [ONE])


def test_a_failed_transaction_says_why_whatever_comes_after() -> None:
    """In its state, and to who wrote the meta blob; a later mistake of a writer does not hide it."""
    known = in_need_of(ONE)
    error = known.fail(OUTER.package, "line 3: a path with a NUL")
    assert isinstance(error, errors.WrongContent)
    assert str(error) in known.summary
    known.reject(ONE, WRONG)
    assert known.last_error is not None
    assert known.last_error.blob == ONE
    assert known.summary == f"failed: the blob {OUTER.package} cannot be used: line 3: a path with a NUL"


def test_a_meta_blob_that_failed_it_is_not_listed() -> None:
    """It stands elsewhere, and it is here."""
    known = Transaction(OUTER.package)
    known.fail(OUTER.package, "line 1: not #mtree")
    assert known.missing() == []


def test_the_disk_s_troubles_are_noted() -> None:
    """They are no event: nothing of the state changes."""
    known = in_need_of(ONE)
    known.note(errors.StoreFull("No space left on device"))
    assert known.last_error == LastError("OUT_OF_SPACE", errno.ENOSPC, None, "No space left on device")
    known.note(errors.StoreBroken("Input/output error"), ONE)
    assert known.last_error == LastError("UNSPECIFIED_IO", errno.EIO, ONE, "Input/output error")
    known.note_defect(errors.StoreBroken("unexpected"))
    assert known.last_error == LastError("INTERNAL", errno.EIO, None, "unexpected")
    assert known.summary == "need-blobs 1 of 3"


@pytest.mark.parametrize("event", [Event.ABORT, Event.EXPIRE])
def test_an_end_is_an_end(event: Event) -> None:
    """Aborted or expired: a second abort finds nothing, a second expiry is none."""
    known = in_need_of(ONE)
    known.abort(event)
    assert known.state is State.ABORTED
    with pytest.raises(errors.NameMissing):
        known.abort()
    known.abort(Event.EXPIRE)
    assert known.state is State.ABORTED


def test_nested_is_a_kind_of_entry_that_needs_its_meta_blob_only() -> None:
    """What is in it is known when its meta blob is here."""
    meta = render_manifest([Nested(b"n", INNER.package)])
    known = Transaction(blob_of(meta))
    assert known.grown_by(blob_of(meta), parse_manifest(meta)) == {INNER.package: Need(None, 1)}
