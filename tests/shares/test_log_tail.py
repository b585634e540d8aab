"""Reading a log in steps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blobfs.model import Invalid
from blobfs.record import GoneRecord, LogEntry, encode_log_entry, encode_log_header
from blobfs.shares import log_tail
from blobfs.shares.log_tail import LogReading, LogTooLong

HEADER = encode_log_header("g1", 1000)


def lines(*numbers: int) -> bytes:
    return b"".join(encode_log_entry(LogEntry(f"n{number}", GoneRecord(number))) for number in numbers)


def names(reading: LogReading) -> list[str]:
    return sorted(reading.entries)


def whole(reading: LogReading, raw: bytes, step: int = 1 << 20) -> LogReading:
    """The answer to a request without a range, in pieces."""
    reading.begin_whole()
    assert all(reading.feed(raw[at : at + step]) for at in range(0, len(raw), step))
    assert reading.finish()
    return reading


def further(reading: LogReading, raw: bytes) -> bool:
    """The answer to a request for what is new, of a log that is `raw` now."""
    assert reading.resume_offset is not None
    reading.begin_tail()
    return reading.feed(raw[reading.resume_offset :]) and reading.finish()


def test_a_log_of_nothing_but_its_header_has_a_position() -> None:
    """The header is the last line when there is no other."""
    reading = whole(LogReading(), HEADER)
    assert names(reading) == []
    assert (reading.offset, reading.resume_offset) == (len(HEADER), 0)


def test_a_line_that_is_still_being_written_is_left_for_later() -> None:
    """A half line is neither consumed nor lost."""
    raw = HEADER + lines(1, 2)
    reading = whole(LogReading(), raw[:-3])
    assert names(reading) == ["n1"]
    assert further(reading, raw)
    assert names(reading) == ["n1", "n2"]


def test_another_last_line_means_another_log() -> None:
    """A rebuilt log is noticed although it is long enough; what is known stays until it was read."""
    reading = whole(LogReading(), HEADER + lines(1, 2))
    rebuilt = encode_log_header("g2", 2000) + lines(1, 3, 4)
    assert not further(reading, rebuilt)
    assert (names(reading), reading.resume_offset) == (["n1", "n2"], None)
    assert names(whole(reading, rebuilt)) == ["n1", "n3", "n4"]


def test_a_known_line_at_its_offset_by_chance() -> None:
    """A rebuilt log tells by its closing line that it is another, though the last line known fits."""
    reading = whole(LogReading(), HEADER + lines(1, 2))
    header = encode_log_header("g2", 2000)
    assert not further(reading, header + lines(3, 2) + header)
    assert reading.resume_offset is None


def test_a_closing_line_is_no_entry() -> None:
    """Who read a rebuilt log whole goes on behind its closing line; the line itself changes nothing."""
    rebuilt = HEADER + lines(1, 2) + HEADER
    reading = whole(LogReading(), rebuilt)
    assert names(reading) == ["n1", "n2"]
    assert further(reading, rebuilt + HEADER[:-5] + b"\n" + lines(3))
    assert names(reading) == ["n1", "n2", "n3"]


@pytest.mark.parametrize("raw", [b"", b'{"log":1', b'{"log":2,"generation":"x"}\n', b"{}\n", b"[]\n"])
def test_what_does_not_begin_like_a_log_is_none(raw: bytes) -> None:
    """A log has a header of a known version; anything else leaves what is known as it is."""
    reading = whole(LogReading(), HEADER + lines(1))
    reading.begin_whole()
    with pytest.raises(Invalid):
        assert reading.feed(raw) and not reading.finish()  # noqa: PT018
    assert names(reading) == ["n1"]


@given(st.integers(0, 12), st.lists(st.integers(0, 600), max_size=8), st.integers(1, 200))
def test_any_way_of_growing_gives_every_entry(count: int, cuts: list[int], step: int) -> None:
    """However a log is cut into readings and these into pieces, all entries come, and no other."""
    log = HEADER + lines(*range(count))
    reading = whole(LogReading(), HEADER)
    for cut in [*sorted(cuts), len(log)]:
        visible = log[: max(cut, reading.offset)]
        offset = reading.resume_offset or 0
        reading.begin_tail()
        assert all(reading.feed(visible[at : at + step]) for at in range(offset, len(visible), step))
        assert reading.finish()
    assert names(reading) == sorted(f"n{number}" for number in range(count))
    assert reading.offset == len(log)


# Older copies


def test_a_shorter_copy_of_the_same_log_takes_nothing_away() -> None:
    """A cache that answers with what the log was some time ago."""
    raw = HEADER + lines(1, 2, 3)
    reading = whole(LogReading(), raw)
    assert not further(reading, raw[: -len(lines(3)) + 5])
    assert names(whole(reading, HEADER + lines(1))) == ["n1", "n2", "n3"]
    assert reading.is_older
    assert further(reading, raw + lines(4))
    assert (names(reading), reading.is_older) == (["n1", "n2", "n3", "n4"], False)


def test_a_log_that_was_made_earlier_takes_nothing_away() -> None:
    """Also when it is longer; one that says nothing of when it was made is believed."""
    reading = whole(LogReading(), encode_log_header("g2", 2000) + lines(5))
    whole(reading, HEADER + lines(1, 2, 3))
    assert (names(reading), reading.is_older) == (["n5"], True)
    whole(reading, encode_log_header("g3") + lines(1))
    assert (names(reading), reading.is_older) == (["n1"], False)


def test_what_goes_on_being_older_is_believed() -> None:
    """A log that lost its end in a crash, a store that was made anew by a clock that is behind."""
    reading = whole(LogReading(), HEADER + lines(1, 2, 3))
    reading.believes_older = True
    assert names(whole(reading, HEADER + lines(1))) == ["n1"]


# Long logs


def test_what_came_before_a_reading_broke_off_is_kept() -> None:
    """The first reading of a log goes on where it stopped; so does that of a log that replaces another."""
    raw = HEADER + lines(*range(9))
    reading = LogReading()
    reading.begin_whole()
    assert reading.feed(raw[:500])
    assert 0 < len(names(reading)) < 9
    assert further(reading, raw)
    assert len(names(reading)) == 9
    new = encode_log_header("g2", 2000) + lines(*range(20, 40))
    assert not further(reading, new)
    reading.begin_whole()
    assert reading.feed(new[:500])
    assert names(reading) == sorted(f"n{number}" for number in range(9))
    assert further(reading, new)
    assert len(names(reading)) == 20


def test_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, bytes and the length of a line have their limits; what came until then is known."""
    monkeypatch.setattr(log_tail, "MAX_LOG_NAMES", 2)
    reading = LogReading()
    reading.begin_whole()
    with pytest.raises(LogTooLong, match="more than 2 names"):
        reading.feed(HEADER + lines(1, 2, 3))
    monkeypatch.setattr(log_tail, "MAX_LINE_BYTES", 1000)
    reading.begin_whole()
    with pytest.raises(LogTooLong, match="line longer than 1000"):
        reading.feed(HEADER + b"x" * 1001)
    monkeypatch.setattr(log_tail, "MAX_LOG_BYTES", 100)
    reading.begin_whole()
    with pytest.raises(LogTooLong, match="larger than 100"):
        reading.feed(HEADER + lines(1))


def test_what_changed_is_noted() -> None:
    """Each component that means something else than before, and what a log that was replaced said."""
    reading = whole(LogReading(), HEADER + lines(1, 2))
    reading.changed.clear()
    assert further(reading, HEADER + lines(1, 2) + lines(2, 3))
    assert reading.changed == {"n3"}
    whole(reading, encode_log_header("g2", 2000) + lines(1))
    assert sorted(reading.replaced or ()) == ["n1", "n2", "n3"]
