"""Preconditions and ranges, without a server."""

from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from blobfs.shares.static_http import Answer, Version, choose_answer, parse_range

NEWER = "Thu, 01 Jan 2026 00:00:01 GMT"
SAME = "Thu, 01 Jan 2026 00:00:00 GMT"
OLDER = "Wed, 31 Dec 2025 23:59:59 GMT"
RECORD = Version('"v1"', 1767225600, 1000, immutable=False)
BLOB = Version('"v1"', 1767225600, 1000, immutable=True)
NOTHING = Answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)


def ask(version: Version = RECORD, method: str = "GET", **headers: str) -> Answer:
    return choose_answer(
        method, Headers({name.replace("_", "-"): headers[name] for name in headers}), version
    )


def part(start: int, stop: int) -> Answer:
    return Answer(HTTPStatus.PARTIAL_CONTENT, start, stop)


def whole(size: int = 1000) -> Answer:
    return Answer(HTTPStatus.OK, 0, size)


@pytest.mark.parametrize(
    ("text", "size", "expected"),
    [
        ("bytes=0-99", 1000, part(0, 100)),
        ("bytes=0-0", 1000, part(0, 1)),
        ("Bytes= 10-19 ", 1000, part(10, 20)),
        ("bytes=900-", 1000, part(900, 1000)),
        ("bytes=900-2000", 1000, part(900, 1000)),
        ("bytes=-100", 1000, part(900, 1000)),
        ("bytes=-5000", 1000, part(0, 1000)),
        ("bytes=999-999", 1000, part(999, 1000)),
        ("bytes=1000-", 1000, NOTHING),
        ("bytes=1000-1001", 1000, NOTHING),
        ("bytes=-0", 1000, NOTHING),
        ("bytes=0-", 0, NOTHING),
        ("bytes=-5", 0, whole(0)),
        ("bytes=9-1", 1000, whole()),
        ("bytes=0-1,5-6", 1000, whole()),
        ("bytes=-", 1000, whole()),
        ("bytes=", 1000, whole()),
        ("bytes=a-b", 1000, whole()),
        ("bytes=--1", 1000, whole()),
        ("bytes=1--1", 1000, whole()),
        ("bytes=+1-2", 1000, whole()),
        ("bytes=1_0-2_0", 1000, whole()),
        ("bytes=0-" + "9" * 5000, 1000, whole()),
        ("lines=0-9", 1000, whole()),
        ("0-9", 1000, whole()),
        ("", 1000, whole()),
    ],
)
def test_range_header(text: str, size: int, expected: Answer) -> None:
    """One range of bytes is answered exactly; several, malformed ones and other units are ignored."""
    assert parse_range(text, size) == expected


@given(
    text=st.text() | st.from_regex(r"bytes=[0-9]{0,20}-[0-9]{0,20}", fullmatch=True),
    size=st.integers(0, 1 << 50),
)
def test_range_always_inside_the_file(text: str, size: int) -> None:
    """Whatever a client asks for, the answer lies in the file, and a 206 is never empty."""
    answer = parse_range(text, size)
    assert 0 <= answer.start <= answer.stop <= size
    if answer.status == HTTPStatus.PARTIAL_CONTENT:
        assert answer.start < answer.stop


@given(first=st.integers(0, 2000), length=st.integers(1, 2000), size=st.integers(0, 2000))
def test_range_means_the_slice(first: int, length: int, size: int) -> None:
    """bytes=a-b is the slice [a:b+1], and 416 exactly where that slice is empty."""
    answer = parse_range(f"bytes={first}-{first + length - 1}", size)
    expected = range(size)[first : first + length]
    if expected:
        assert answer == part(expected.start, expected.stop)
    else:
        assert answer == NOTHING


@given(text=st.text(), name=st.sampled_from(["if_range", "if_match", "if_none_match", "if_modified_since"]))
def test_nonsense_in_a_header_is_survived(text: str, name: str) -> None:
    """No conditional header makes the decision fail."""
    raw = [(name.replace("_", "-").encode(), text.encode("utf-8", "replace")), (b"range", b"bytes=0-0")]
    assert choose_answer("GET", Headers(raw=raw), RECORD).status in {200, 206, 304, 412}


def test_if_none_match() -> None:
    """A known version is not sent again; weak tags, lists and * count."""
    for known in ('"v1"', 'W/"v1"', '"v0", "v1"', "*"):
        assert ask(if_none_match=known).status == HTTPStatus.NOT_MODIFIED
    assert ask(if_none_match='"v0"') == whole()
    assert ask(if_none_match="v1") == whole()


def test_if_none_match_over_date() -> None:
    """With If-None-Match, If-Modified-Since is not looked at."""
    assert ask(if_none_match='"v0"', if_modified_since=NEWER) == whole()


def test_if_modified_since() -> None:
    """Not modified since that second: 304. No date, or an earlier one: the file."""
    assert ask(if_modified_since=SAME).status == HTTPStatus.NOT_MODIFIED
    assert ask(if_modified_since=NEWER).status == HTTPStatus.NOT_MODIFIED
    for text in (OLDER, "yesterday", "", "Mon, 99 Jan 2026 00:00:00 GMT"):
        assert ask(if_modified_since=text) == whole()


def test_if_match() -> None:
    """If-Match goes on for the same version only, and compares strongly."""
    assert ask(if_match='"v0", "v1"') == whole()
    assert ask(if_match="*") == whole()
    assert ask(if_match='"v0"').status == HTTPStatus.PRECONDITION_FAILED
    assert ask(if_match='W/"v1"').status == HTTPStatus.PRECONDITION_FAILED


def test_if_unmodified_since() -> None:
    """Modified after that second: 412, unless If-Match already said yes."""
    assert ask(if_unmodified_since=SAME) == whole()
    assert ask(if_unmodified_since=OLDER).status == HTTPStatus.PRECONDITION_FAILED
    assert ask(if_unmodified_since=OLDER, if_match='"v1"') == whole()


def test_if_range_by_tag() -> None:
    """The range for the version that was meant, the whole file for another; a weak tag never matches."""
    assert ask(range="bytes=0-9", if_range='"v1"') == part(0, 10)
    assert ask(range="bytes=0-9", if_range='"v0"') == whole()
    assert ask(range="bytes=0-9", if_range='W/"v1"') == whole()


def test_if_range_by_date() -> None:
    """A date tells versions apart only where there is one version: two files may have one mtime."""
    assert ask(BLOB, range="bytes=0-9", if_range=SAME) == part(0, 10)
    assert ask(BLOB, range="bytes=0-9", if_range=NEWER) == whole()
    assert ask(RECORD, range="bytes=0-9", if_range=SAME) == whole()


def test_preconditions_come_before_ranges() -> None:
    """A 304 or a 412 is the answer even if a range was asked for, satisfiable or not."""
    assert ask(range="bytes=0-9", if_none_match='"v1"').status == HTTPStatus.NOT_MODIFIED
    assert ask(range="bytes=9999-", if_match='"v0"').status == HTTPStatus.PRECONDITION_FAILED


def test_head_knows_no_ranges() -> None:
    """RFC 9110 defines ranges for GET alone: HEAD tells the size of the whole file."""
    assert ask(method="HEAD", range="bytes=0-9") == whole()


def test_several_range_lines_are_ignored() -> None:
    """Two Range lines are as good as two ranges: the whole file."""
    headers = Headers(raw=[(b"range", b"bytes=0-9"), (b"range", b"bytes=5-6")])
    assert choose_answer("GET", headers, RECORD) == whole()
