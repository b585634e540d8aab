"""Records in little memory: what goes in comes out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blobfs.model import BlobId
from blobfs.record import (
    MAX_BLOB_SIZE,
    BlobRecord,
    DirRecord,
    GoneRecord,
    LogEntry,
    LogRecord,
    SymlinkRecord,
    decode_log_entries,
    encode_log_entry,
    parse_time,
)
from blobfs.shares.packed import pack, pack_line, published_of, unpack

times = st.integers(parse_time("0001-01-01T00:00:00Z"), parse_time("9999-12-31T23:59:59.999999999Z"))
ids = st.binary(min_size=32, max_size=32).map(lambda raw: BlobId(raw.hex()))
records: st.SearchStrategy[LogRecord] = st.one_of(
    st.builds(BlobRecord, ids, st.integers(0, MAX_BLOB_SIZE), st.sampled_from([0o444, 0o555]), times, times),
    st.builds(SymlinkRecord, st.sampled_from(["a", "../b", "\u00e9" * 700]), times, times),
    st.builds(GoneRecord, times),
    st.builds(DirRecord, times, times),
)
components = st.sampled_from(
    ["a", "A b", "x.gguf", ".hidden", "...", "\u00e9", 'quo"te', "back\\slash", "n\nl", "~-_+=@,", "f" * 255]
)


@given(records)
def test_a_record_comes_out_as_it_went_in(record: LogRecord) -> None:
    """Whatever a log can say; when it was published can be told without the rest."""
    assert unpack(pack(record)) == record
    assert published_of(pack(record)) == record.published_ns


@given(records, components, st.booleans())
def test_a_line_means_what_it_means_as_json(record: LogRecord, component: str, loaded: bool) -> None:
    """The short way and the long way say the same."""
    line = encode_log_entry(LogEntry(component, record, loaded)).rstrip(b"\n")
    found = pack_line(line)
    assert found is not None
    assert (found[0], unpack(found[1])) == (component, record)


LINE = encode_log_entry(LogEntry("name", BlobRecord(BlobId("ab" * 32), 7, 0o444, 10**18, 10**18))).rstrip(
    b"\n"
)


@pytest.mark.parametrize(
    ("there", "instead"),
    [
        (b'"size":7', b'"size":17592186044417'),
        (b'"size":7', b'"size":07'),
        (b'"size":7', b'"size":7.0'),
        (b"2001-09-09", b"2001-02-30"),
        (b"2001-09-09", b"0000-09-09"),
        (b"0444", b"0644"),
        (b"abab", b"ABAB"),
        (b'"name"', b'"nome"'),
        (b'"name":"name"', b'"name":".."'),
        (b'"name":"name"', b'"name":".blobfs"'),
        (b'"name":"name"', b'"name":"a/b"'),
        (b'"name":"name"', b'"name":"' + b"n" * 256 + b'"'),
        (b'"v":1', b'"v":2'),
        (b"}", b"} x"),
        (b"}", b""),
    ],
)
def test_what_is_no_entry_is_none_by_either_way(there: bytes, instead: bytes) -> None:
    """The short way takes nothing that the long way would skip."""
    line = LINE.replace(there, instead)
    assert line != LINE
    assert list(decode_log_entries(line)) == []
    assert pack_line(line) is None
