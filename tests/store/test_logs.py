"""Directory logs on the disk: they stay in proportion to what they list."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blobfs.model import ROOT, Name
from blobfs.record import (
    DirRecord,
    GoneRecord,
    LogEntry,
    decode_log_header,
    decode_log_made,
    encode_log_entry,
)
from blobfs.shares.log_tail import LogReading
from blobfs.store import logs
from blobfs.store.logs import append_log, compact_log, read_log, write_log
from blobfs.store.opening import Store

LINES = 5000


def entry(component: str, number: int = 1) -> LogEntry:
    return LogEntry(component, GoneRecord(number), loaded=bool(number % 2))


def header_of(store: Store) -> bytes:
    return store.layout.log(ROOT).read_bytes().partition(b"\n")[0]


def test_a_log_of_superseded_lines_is_compacted_as_it_grows(store: Store) -> None:
    """It never takes much more than twice what its entries need, and says the same."""
    for number in range(LINES):
        assert append_log(store.layout, ROOT, entry(f"n{number % 10}", number))
    lines = store.layout.log(ROOT).read_bytes().count(b"\n")
    assert lines < 2 * logs.MIN_LINES
    assert read_log(store.layout, ROOT) == {
        f"n{number % 10}": entry(f"n{number % 10}", number) for number in range(LINES - 10, LINES)
    }


def test_a_log_of_live_lines_is_left_alone(store: Store) -> None:
    """What is not superseded is not rewritten; tombstones are entries like others."""
    before = header_of(store)
    for number in range(2000):
        append_log(store.layout, ROOT, entry(f"n{number}"))
    assert not compact_log(store.layout, ROOT)
    assert header_of(store) == before


def test_a_short_log_is_left_alone(store: Store) -> None:
    """However little of it counts."""
    for number in range(logs.MIN_LINES - 10):
        append_log(store.layout, ROOT, entry("n", number))
    assert not compact_log(store.layout, ROOT)


def test_a_reader_notices_a_compaction(store: Store) -> None:
    """Who knows the log from before reads it anew, and knows the same as who reads it for the first time."""
    log = store.layout.log(ROOT)
    write_log(store.layout, ROOT, [entry("first")])
    reading = LogReading()
    reading.begin_whole()
    assert reading.feed(log.read_bytes())
    assert reading.finish()
    for number in range(LINES):
        append_log(store.layout, ROOT, entry(f"n{number % 3}", number))
    assert compact_log(store.layout, ROOT) or log.stat().st_size < 2 * logs.FIRST_LOOK
    raw = log.read_bytes()
    reading.begin_tail()
    assert not (reading.feed(raw[reading.resume_offset :]) and reading.finish())
    reading.begin_whole()
    assert reading.feed(raw)
    assert reading.finish()
    assert (sorted(reading.entries), reading.is_older) == (["first", "n0", "n1", "n2"], False)


def test_a_log_that_replaces_another_was_made_later(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by a clock that was set back."""
    write_log(store.layout, ROOT, [])
    before = decode_log_made(header_of(store)) or 0
    monkeypatch.setattr("time.time_ns", lambda: 1000)
    write_log(store.layout, ROOT, [])
    assert decode_log_made(header_of(store)) == before + 1


def test_a_broken_log_is_not_compacted(store: Store) -> None:
    """It waits for repair, which has the records."""
    for number in range(900):
        append_log(store.layout, ROOT, entry("n", number))
    log = store.layout.log(ROOT)
    raw = log.read_bytes() + encode_log_entry(entry("n")) * 900
    os.truncate(log, 0)
    log.write_bytes(raw.replace(b'{"log":1', b'{"log":2'))
    assert not compact_log(store.layout, ROOT)


@given(
    st.lists(
        st.sampled_from(["a", 'quo"te', "back\\", "\u00e9", "new\nline", '"name":"x"}', "b,c"]), max_size=30
    )
)
def test_components_are_counted_as_they_are_read(components: list[str]) -> None:
    """Counting without taking lines apart finds as many as taking them apart."""
    lines = [
        encode_log_entry(LogEntry(component, DirRecord(1, 1), loaded=bool(number % 2)))
        for number, component in enumerate(components)
    ]
    assert len(set(logs._COMPONENT.findall(b"".join(lines)))) == len(set(components))


def test_a_header_is_read_like_before(store: Store) -> None:
    """The new key does not hide the generation."""
    assert len(decode_log_header(header_of(store))) == 2 * logs.GENERATION_BYTES
    assert read_log(store.layout, Name("nothing")) is None
