"""blobfs.record: what is written reads back, and what others write is a record or `Invalid`."""

import contextlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blobfs.model import EMPTY_BLOB, BlobId, Invalid
from blobfs.record import (
    MAX_BLOB_SIZE,
    MAX_RECORD_BYTES,
    MAX_TARGET_BYTES,
    BlobRecord,
    DirRecord,
    GoneRecord,
    LogEntry,
    Record,
    SymlinkRecord,
    decode_log_entries,
    decode_log_header,
    decode_record,
    encode_log_entry,
    encode_log_header,
    encode_record,
    format_time,
    parse_target,
    parse_time,
    target_stays_inside,
)

SECOND = 1_000_000_000
FIRST = -62_135_596_800 * SECOND
LAST = 253_402_300_800 * SECOND - 1

times = st.integers(FIRST, LAST)
blobs = st.text("0123456789abcdef", min_size=64, max_size=64).map(BlobId)
parts = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=40).filter(
    lambda text: text not in (".", "..") and not text.startswith(".blobfs")
)
targets = st.builds(
    lambda ups, names: "/".join([".."] * ups + names),
    st.integers(0, 3),
    st.lists(parts, min_size=1, max_size=4),
)
records = (
    st.builds(BlobRecord, blobs, st.integers(0, MAX_BLOB_SIZE), st.sampled_from([0o444, 0o555]), times, times)
    | st.builds(SymlinkRecord, targets, times, times)
    | st.builds(GoneRecord, times)
)
entries = st.builds(LogEntry, parts, records | st.builds(DirRecord, times, times), st.booleans())

BLOB = {
    "v": 1,
    "kind": "blob",
    "blob": EMPTY_BLOB,
    "size": 0,
    "mode": "0444",
    "mtime": "2026-01-02T03:04:05Z",
    "published": "2026-01-02T03:04:05.000000006Z",
}
SYMLINK = {"v": 1, "kind": "symlink", "target": "a", "published": "2026-01-02T03:04:05Z"}


def without(fields: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name != key}


def refuses(fields: object) -> None:
    with pytest.raises(Invalid):
        decode_record(json.dumps(fields).encode())


@given(records)
def test_records_round_trip(record: Record) -> None:
    """Any record reads back as it was, from one line."""
    raw = encode_record(record)
    assert decode_record(raw) == record
    assert raw.count(b"\n") == 1
    assert raw.endswith(b"\n")


@given(st.lists(entries, max_size=6))
def test_logs_round_trip(written: list[LogEntry]) -> None:
    """A log reads back in the order written; its header is no entry."""
    raw = encode_log_header("g") + b"".join(map(encode_log_entry, written))
    assert list(decode_log_entries(raw)) == written
    assert decode_log_header(raw.split(b"\n")[0]) == "g"


def test_the_written_form() -> None:
    """The bytes are those of the format's description."""
    record = BlobRecord(EMPTY_BLOB, 7, 0o555, 0, 1_767_323_045 * SECOND + 6)
    assert encode_record(record) == (
        b'{"v":1,"kind":"blob","blob":"' + EMPTY_BLOB.encode() + b'","size":7,"mode":"0555",'
        b'"mtime":"1970-01-01T00:00:00.000000000Z","published":"2026-01-02T03:04:05.000000006Z"}\n'
    )
    assert (
        encode_record(GoneRecord(0))
        == b'{"v":1,"kind":"gone","published":"1970-01-01T00:00:00.000000000Z"}\n'
    )
    assert encode_log_entry(LogEntry("é", GoneRecord(0), loaded=True)) == (
        '{"v":1,"kind":"gone","published":"1970-01-01T00:00:00.000000000Z","name":"é","loaded":true}\n'.encode()
    )
    assert encode_log_header("abc") == b'{"log":1,"generation":"abc"}\n'


def test_unknown_keys_are_ignored() -> None:
    """A later writer may add keys, whatever is in them."""
    record = decode_record(json.dumps(BLOB | {"color": [{"a": None}], "name": 3}).encode())
    assert isinstance(record, BlobRecord)
    assert record.published_ns == 1_767_323_045 * SECOND + 6


@pytest.mark.parametrize("key", sorted(BLOB))
def test_each_key_of_a_blob_is_needed(key: str) -> None:
    """A record that lacks one is no record."""
    refuses(without(BLOB, key))


def test_only_mtime_may_be_missing_elsewhere() -> None:
    """A symlink's mtime is its time of publishing unless it says otherwise."""
    record = decode_record(json.dumps(SYMLINK).encode())
    assert record == SymlinkRecord("a", record.published_ns, record.published_ns)
    for key in SYMLINK:
        refuses(without(SYMLINK, key))
    refuses({"v": 1, "kind": "gone"})


@pytest.mark.parametrize("key", sorted(BLOB))
@pytest.mark.parametrize(
    "value",
    [None, True, False, -1, 2, 1.0, 1e300, 10**30, "", "\0", "\ud800", [], {}, [1], {"a": 1}],
    ids=repr,
)
def test_values_of_the_wrong_type(key: str, value: object) -> None:
    """Nothing is converted: another type, or a value out of range, is no record."""
    if (key, value) == ("size", 2):
        assert decode_record(json.dumps(BLOB | {key: value}).encode())
    else:
        refuses(BLOB | {key: value})


@pytest.mark.parametrize("version", [0, 2, "1", 1.0, True, None, -1, [1]], ids=repr)
def test_other_versions_are_refused(version: object) -> None:
    """Only the number 1 is version 1."""
    refuses(BLOB | {"v": version})
    with pytest.raises(Invalid, match="knows version 1"):
        decode_log_header(json.dumps({"log": version, "generation": "g"}).encode())


@pytest.mark.parametrize("size", [-1, MAX_BLOB_SIZE + 1, 2**64, True, 1.5, "1", None], ids=repr)
def test_bad_sizes(size: object) -> None:
    """A size is a whole number from 0 to 16 TiB."""
    refuses(BLOB | {"size": size})


def test_the_largest_size() -> None:
    """The limit itself is allowed."""
    record = decode_record(json.dumps(BLOB | {"size": MAX_BLOB_SIZE}).encode())
    assert isinstance(record, BlobRecord)
    assert record.size == MAX_BLOB_SIZE


@pytest.mark.parametrize(
    "mode", ["444", "0644", "0777", "4555", "00444", "0o444", "", 0o444, 444, " 0444"], ids=repr
)
def test_bad_modes(mode: object) -> None:
    """What is shared is read-only, so there are two modes only."""
    refuses(BLOB | {"mode": mode})


@pytest.mark.parametrize("blob", ["", "0" * 63, "A" * 64, "../" + "0" * 61, "0" * 64 + "\n"], ids=repr)
def test_bad_blob_ids(blob: str) -> None:
    """Only 64 lowercase hex digits become part of a path."""
    refuses(BLOB | {"blob": blob})


@pytest.mark.parametrize("kind", ["dir", "Blob", "", "package", None, 1, [], {}], ids=repr)
def test_other_kinds_are_refused(kind: object) -> None:
    """An unknown kind is not taken for one that is known; directories have no name record."""
    refuses(BLOB | {"kind": kind})


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b'"blob"',
        b"1",
        b"{",
        b"{}",
        b"<html>404</html>",
        b"\xff\xfe",
        b"{'v':1}",
        json.dumps(BLOB).encode()[:-1],
        json.dumps(BLOB).encode() + b"{}",
        json.dumps(BLOB).encode("utf-16"),
        json.dumps(BLOB).encode("utf-32-le"),
        b"\xef\xbb\xbf" + json.dumps(BLOB).encode(),
        json.dumps(SYMLINK).encode().replace(b'"a"', b'"\xed\xa0\x80"'),
        json.dumps(SYMLINK).encode().replace(b'"a"', b'"\xff"'),
        json.dumps(BLOB).encode().replace(b'"size": 0', b'"size": NaN'),
        json.dumps(BLOB).encode().replace(b'"size": 0', b'"size": Infinity'),
        json.dumps(BLOB | {"x": float("nan")}).encode(),
        json.dumps(BLOB).encode().replace(b'"size": 0', b'"size": ' + b"9" * 5000),
        b'{"v":' * 20,
    ],
    ids=lambda raw: repr(raw[:20]),
)
def test_what_is_not_json(raw: bytes) -> None:
    """Other text, other encodings, and what only some parsers take for JSON."""
    with pytest.raises(Invalid):
        decode_record(raw)


def nested(key: str, depth: int, begin: str, end: str) -> bytes:
    return (json.dumps(without(BLOB, key))[:-1] + f', "{key}": {begin * depth}1{end * depth}' + "}").encode()


@pytest.mark.parametrize("depth", [10, 900, 950, 975, 990, 1000, 5000, 16_000])
@pytest.mark.parametrize(("begin", "end"), [("[", "]"), ('{"a":', "}")], ids=["lists", "objects"])
def test_deep_nesting(depth: int, begin: str, end: str) -> None:
    """However deep something nests it is refused, or ignored with its key; never a RecursionError."""
    for key in BLOB:
        with pytest.raises(Invalid):
            decode_record(nested(key, depth, begin, end))
    with contextlib.suppress(Invalid):
        assert decode_record(nested("other", depth, begin, end)) == decode_record(json.dumps(BLOB).encode())


def test_a_record_has_a_limit() -> None:
    """A record over the limit is refused before it is parsed, and the longest we write is under it."""
    with pytest.raises(Invalid, match="bytes"):
        decode_record(json.dumps(BLOB | {"x": "x" * MAX_RECORD_BYTES}).encode())
    longest = LogEntry("\x01" * 255, SymlinkRecord("\x01" * MAX_TARGET_BYTES, 0, 0), loaded=True)
    assert len(encode_log_entry(longest)) <= MAX_RECORD_BYTES
    assert list(decode_log_entries(encode_log_entry(longest))) == [longest]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.fixed_dictionaries({}, optional={key: st.just(value) | json_values for key, value in BLOB.items()}))
def test_any_object_is_a_record_or_invalid(fields: dict[str, Any]) -> None:
    """No other exception, and what is accepted can be written and read again."""
    with contextlib.suppress(Invalid):
        record = decode_record(json.dumps(fields).encode())
        assert decode_record(encode_record(record)) == record


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_invalid(raw: bytes) -> None:
    """No bytes break a reader of records, headers or logs."""
    for decode in (decode_record, decode_log_header):
        with pytest.raises(Invalid):
            decode(raw)
    assert list(decode_log_entries(raw)) == []


def log_line(**changes: object) -> bytes:
    return json.dumps(BLOB | {"name": "a"} | changes).encode()


@pytest.mark.parametrize(
    "line",
    [
        log_line()[:-9],
        log_line(v=2),
        log_line(name=".."),
        log_line(name="a/b"),
        log_line(name=".blobfs"),
        log_line(name=""),
        log_line(name="a\0"),
        log_line(name="\ud800"),
        log_line(name="\udcc3\udca9"),
        log_line(name="x" * 256),
        log_line(name=7),
        log_line(size=-1),
        log_line(kind="symlink", target="/etc/passwd"),
        log_line(x="x" * MAX_RECORD_BYTES),
        b"[" * 20_000,
        b"",
        b"\xff",
        b"null",
        b"\r",
    ],
    ids=lambda line: repr(line[-40:]),
)
def test_a_bad_log_line_is_skipped(line: bytes) -> None:
    """One line that is no entry costs that line and none of its neighbours."""
    before, after = (LogEntry(name, GoneRecord(0)) for name in ("before", "after"))
    raw = encode_log_entry(before) + line + b"\n" + encode_log_entry(after)
    assert list(decode_log_entries(raw)) == [before, after]


@pytest.mark.parametrize("loaded", [1, "true", None, [True], False])
def test_loaded_is_true_or_it_is_not(loaded: object) -> None:
    """Only JSON's true says that another node published the name."""
    (entry,) = decode_log_entries(log_line(loaded=loaded))
    assert entry.loaded is False


@pytest.mark.parametrize("component", ["%2e%2e", "a\\b", "a\nb", "a\rb", "\u2028", "é", "x" * 255, " ", '"'])
def test_odd_components_in_a_log(component: str) -> None:
    """Odd names are names, and none breaks a line in two."""
    entry = LogEntry(component, GoneRecord(0))
    assert list(decode_log_entries(encode_log_entry(entry))) == [entry]


@pytest.mark.parametrize(
    "line",
    [b"", b"{}", b'{"log":1}', b'{"log":1,"generation":7}', b'{"log":1,"generation":"\\ud800"}', log_line()],
)
def test_no_log_header(line: bytes) -> None:
    """A header says its version and its generation."""
    with pytest.raises(Invalid):
        decode_log_header(line)


@given(times)
def test_times_round_trip(ns: int) -> None:
    """To the nanosecond, from year 1 to year 9999, as anybody's RFC 3339 parser reads them."""
    text = format_time(ns)
    assert parse_time(text) == ns
    moment = datetime.fromisoformat(text)
    assert moment.utcoffset() == UTC.utcoffset(None)
    assert (moment - datetime(1970, 1, 1, tzinfo=UTC)).days == ns // (86_400 * SECOND)


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (FIRST, "0001-01-01T00:00:00.000000000Z"),
        (LAST, "9999-12-31T23:59:59.999999999Z"),
        (-30_610_224_000 * SECOND, "1000-01-01T00:00:00.000000000Z"),
        (1_709_164_800 * SECOND + 1, "2024-02-29T00:00:00.000000001Z"),
    ],
)
def test_times(ns: int, text: str) -> None:
    """Before 1970, before the year 1000, and the two ends."""
    assert format_time(ns) == text
    assert parse_time(text) == ns


@pytest.mark.parametrize("ns", [FIRST - 1, LAST + 1, -(2**63) * SECOND, 2**63 * SECOND, 2**200])
def test_times_beyond_the_calendar(ns: int) -> None:
    """A time that RFC 3339 cannot write becomes the nearest that it can."""
    assert parse_time(format_time(ns)) == (FIRST if ns < 0 else LAST)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:01Z", SECOND),
        ("1970-01-01T00:00:01+00:00", SECOND),
        ("1970-01-01T00:00:00.5Z", SECOND // 2),
        ("1970-01-01T00:00:00.000001Z", 1000),
    ],
)
def test_times_of_other_writers(text: str, ns: int) -> None:
    """Fewer digits, and UTC spelled as an offset."""
    assert parse_time(text) == ns


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-02",
        "2026-01-02 03:04:05Z",
        "2026-01-02T03:04:05",
        "2026-01-02T03:04:05+01:00",
        "2026-01-02T03:04:05.Z",
        "2026-01-02T03:04:05.0000000001Z",
        "2026-02-30T03:04:05Z",
        "2026-13-01T03:04:05Z",
        "2026-01-02T24:00:00Z",
        "2026-01-02T03:04:61Z",
        "0000-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "-001-01-01T00:00:00Z",
        "2026-01-02T03:04:05Z\n",
        "٢٠٢٦-01-02T03:04:05Z",
        "2026-01-02T03:04:05.٢Z",
        "20260102T030405Z",
        "2026-W01-1T03:04:05Z",
    ],
)
def test_no_times(text: str) -> None:
    """No other form, no other zone, no day that is not in the calendar."""
    with pytest.raises(Invalid):
        parse_time(text)


@pytest.mark.parametrize(
    "target",
    [
        "a",
        "a/b",
        "../a",
        "../../a",
        "..",
        ".",
        "./a",
        "a/",
        "a//b",
        ".blobfs/packages/" + "0" * 64,
        "...",
        "a\nb",
        "é",
    ],
)
def test_targets(target: str) -> None:
    """Relative, and climbing only at its beginning."""
    assert parse_target(target) == target


@pytest.mark.parametrize(
    "target", ["", "/", "/a", "//a", "a/..", "a/../b", "../a/../b", "a/./..", "a\0", "x" * 4096]
)
def test_no_targets(target: str) -> None:
    """Empty, absolute, climbing after a name, with NUL, or too long."""
    with pytest.raises(Invalid):
        parse_target(target)


@pytest.mark.parametrize("code", [0xD800, 0xDC80, 0xDFFF], ids=hex)
def test_no_target_with_surrogates(code: int) -> None:
    """What is no text cannot be written into a record; two escaped bytes are no letter."""
    for target in (chr(code), "a" + chr(code), "\udcc3\udca9"):
        with pytest.raises(Invalid, match="not valid UTF-8"):
            parse_target(target)


@pytest.mark.parametrize(
    ("target", "depth", "inside"),
    [
        ("a", 0, True),
        ("..a", 0, True),
        ("..", 0, False),
        ("../a", 0, False),
        ("../a", 1, True),
        ("./../a", 0, False),
        ("../../a", 1, False),
        ("../../a", 2, True),
        ("..//..", 1, False),
    ],
)
def test_target_stays_inside(target: str, depth: int, inside: bool) -> None:
    """A link may climb as far as it stands deep."""
    assert target_stays_inside(target, depth) is inside
