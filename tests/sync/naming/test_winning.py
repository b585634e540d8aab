"""Which record of a name counts: the same one whoever asks, in whatever order he hears of them."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from blobfs.model import BlobId
from blobfs.record import BlobRecord, DirRecord, GoneRecord, LogRecord, SymlinkRecord
from blobfs.sync.naming.winning import is_later, winner

times = st.integers(0, 3)
blobs = st.builds(
    lambda number, mode, mtime_ns, published_ns: BlobRecord(
        BlobId(f"{number:064x}"), number, mode, mtime_ns, published_ns
    ),
    st.integers(0, 2),
    st.sampled_from([0o444, 0o555]),
    st.integers(0, 1),
    times,
)
links = st.builds(SymlinkRecord, st.sampled_from(["a", "b", "é"]), st.integers(0, 1), times)
tombstones = st.builds(GoneRecord, times)
directories = st.builds(DirRecord, st.integers(0, 1), times, st.booleans())
files = blobs | links | tombstones
records = files | directories
some = st.lists(records, min_size=1, max_size=6)


def counts(said: list[LogRecord]) -> LogRecord:
    return winner([(record, None) for record in said])[0]


@given(some, st.randoms(use_true_random=False))
def test_the_order_of_the_shares_does_not_matter(said: list[LogRecord], random: Random) -> None:
    """Commutative: every node comes to the same winner, however its shares are ordered."""
    shuffled = said.copy()
    random.shuffle(shuffled)
    assert counts(shuffled) == counts(said)


@given(some)
def test_hearing_it_twice_changes_nothing(said: list[LogRecord]) -> None:
    """Idempotent: what was loaded is shared in turn with its record as it was, and counts once."""
    assert counts(said + said) == counts(said)
    assert counts([*said, counts(said)]) == counts(said)


@given(st.lists(files, min_size=1, max_size=4), st.lists(files, min_size=1, max_size=4))
def test_of_files_the_winners_of_parts_decide(one: list[LogRecord], other: list[LogRecord]) -> None:
    """Associative: a node that passes on only what counts for it hides nothing from others."""
    assert counts([counts(one), counts(other)]) == counts(one + other)


@given(some)
def test_the_winner_is_the_newest_or_a_directory(said: list[LogRecord]) -> None:
    """Nothing is newer than what counts, but for tombstones of a directory that somebody keeps."""
    found = counts(said)
    latest = max(record.published_ns for record in said)
    if found.published_ns < latest:
        assert isinstance(found, DirRecord)
        assert any(isinstance(record, GoneRecord) and record.published_ns == latest for record in said)


@given(st.lists(records, min_size=1, max_size=6, unique=True))
def test_different_records_are_never_equal(said: list[LogRecord]) -> None:
    """A total order: of two records exactly one is later, and later goes on."""
    for one in said:
        assert not is_later(one, one)
        for other in said:
            assert one == other or is_later(one, other) != is_later(other, one)
            for third in said:
                assert not (is_later(one, other) and is_later(other, third)) or is_later(one, third)


def test_who_has_it_first_is_named() -> None:
    """Of one record at several places the first counts: this node goes before the shares."""
    record = DirRecord(1, 1)
    assert winner([(record, "here"), (DirRecord(1, 1), "there")]) == (record, "here")


def test_a_directory_outlives_a_tombstone_but_not_a_file() -> None:
    """What somebody keeps in a directory is not buried; a file that took its place counts, until it goes."""
    directory, file, gone = DirRecord(1, 1), SymlinkRecord("x", 2, 2), GoneRecord(3)
    assert counts([directory, GoneRecord(2)]) == directory
    assert counts([directory, file]) == file
    assert counts([directory, file, gone]) == directory
    assert counts([DirRecord(1, 1, loaded=True), gone]) == gone
    assert counts([DirRecord(1, 1, loaded=True), directory, gone]) == directory
