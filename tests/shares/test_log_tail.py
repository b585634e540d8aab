"""Reading a log in steps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blobfs.model import Invalid
from blobfs.record import GoneRecord, LogEntry, encode_log_entry, encode_log_header
from blobfs.shares.log_tail import read_fresh, read_further

HEADER = encode_log_header("g1")


def lines(*numbers: int) -> bytes:
    return b"".join(encode_log_entry(LogEntry(f"n{number}", GoneRecord(number))) for number in numbers)


def names(entries: tuple[LogEntry, ...]) -> list[str]:
    return [entry.component for entry in entries]


def test_a_log_of_nothing_but_its_header_has_a_position() -> None:
    """The header is the last line when there is no other."""
    tail = read_fresh(HEADER)
    assert tail.fresh
    assert tail.entries == ()
    assert (tail.position.offset, tail.position.last_line) == (len(HEADER), HEADER)


def test_a_line_that_is_still_being_written_is_left_for_later() -> None:
    """A half line is neither consumed nor lost."""
    raw = HEADER + lines(1, 2)
    tail = read_fresh(raw[:-3])
    assert names(tail.entries) == ["n1"]
    further = read_further(tail.position, raw[tail.position.resume_offset :])
    assert further is not None
    assert names(further.entries) == ["n2"]


def test_another_last_line_means_another_log() -> None:
    """A rebuilt log is noticed although it is long enough."""
    position = read_fresh(HEADER + lines(1, 2)).position
    rebuilt = HEADER + lines(1, 3, 4)
    assert read_further(position, rebuilt[position.resume_offset :]) is None


def test_a_known_line_at_its_offset_by_chance() -> None:
    """A rebuilt log tells by its closing line that it is another, though the last line known fits."""
    position = read_fresh(HEADER + lines(1, 2)).position
    header = encode_log_header("g2")
    rebuilt = header + lines(3, 2) + header
    assert rebuilt[position.resume_offset :].startswith(position.last_line)
    assert read_further(position, rebuilt[position.resume_offset :]) is None


def test_a_closing_line_is_no_entry() -> None:
    """Who read a rebuilt log whole goes on behind its closing line; the line itself changes nothing."""
    rebuilt = HEADER + lines(1, 2) + HEADER
    tail = read_fresh(rebuilt)
    assert names(tail.entries) == ["n1", "n2"]
    grown = rebuilt + HEADER[:-5] + b"\n" + lines(3)
    further = read_further(tail.position, grown[tail.position.resume_offset :])
    assert further is not None
    assert names(further.entries) == ["n3"]


@pytest.mark.parametrize("raw", [b"", b'{"log":1', b'{"log":2,"generation":"x"}\n', b"{}\n", b"[]\n"])
def test_what_does_not_begin_like_a_log_is_none(raw: bytes) -> None:
    """A log has a header of a known version."""
    with pytest.raises(Invalid):
        read_fresh(raw)


@given(st.integers(0, 12), st.lists(st.integers(0, 600), max_size=8))
def test_any_way_of_growing_gives_every_entry_once(count: int, cuts: list[int]) -> None:
    """However a log is cut into readings, the entries come once each and in order."""
    whole = HEADER + lines(*range(count))
    seen = list(names((tail := read_fresh(HEADER)).entries))
    position = tail.position
    for cut in [*sorted(cuts), len(whole)]:
        visible = whole[: max(cut, position.offset)]
        further = read_further(position, visible[position.resume_offset :])
        assert further is not None
        seen += names(further.entries)
        position = further.position
    assert seen == [f"n{number}" for number in range(count)]
    assert position.offset == len(whole)
