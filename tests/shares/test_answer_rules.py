"""How statuses and headers are read."""

from datetime import UTC, datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blobfs.model import Kind
from blobfs.shares.answer_rules import (
    Stretch,
    encoding_complaint,
    is_page,
    kind_of_status,
    retry_after,
    stretch_complaint,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STRETCH = Stretch(100, 50, 1000)


@pytest.mark.parametrize(
    ("statuses", "kind"),
    [
        ({404, 410}, Kind.ABSENT),
        ({401, 403}, Kind.REFUSED),
        ({408, 425, 429, 503}, Kind.BUSY),
        ({500, 501, 502, 504, 511, 599}, Kind.SERVER_ERROR),
        ({301, 302, 303, 307, 308}, Kind.REDIRECTED),
        ({204, 206, 300, 304, 400, 405, 416, 418}, Kind.BAD_STATUS),
    ],
)
def test_every_status_has_a_kind(statuses: set[int], kind: Kind) -> None:
    """Only 404 and 410 say that something is absent."""
    assert {kind_of_status(status) for status in statuses} == {kind}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("999999", 3600.0),
        ("Fri, 02 Jan 2026 03:04:35 GMT", 30.0),
        ("Fri, 02 Jan 2026 03:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    """Both forms of Retry-After are understood, nonsense is ignored, and it is bounded."""
    assert retry_after(httpx.Headers({"Retry-After": text}), NOW) == seconds


@pytest.mark.parametrize(
    ("content_range", "detail"),
    [
        ("bytes 100-149/1000", None),
        ("bytes 100-149/*", None),
        ("bytes 100-149/999", "has 999 bytes, its record says 1000"),
        ("bytes 0-49/1000", "asked for bytes=100-149"),
        ("bytes 100-148/1000", "asked for bytes=100-149"),
        ("bytes 100-150/1000", "asked for bytes=100-149"),
        ("items 100-149/1000", "without a proper Content-Range"),
        ("bytes 100-149", "without a proper Content-Range"),
        ("bytes */1000", "without a proper Content-Range"),
        ("bytes 100-149/1000, 5", "without a proper Content-Range"),
        ("", "without a proper Content-Range"),
    ],
)
def test_a_206_must_name_the_range_that_was_asked_for(content_range: str, detail: str | None) -> None:
    """Unit, first, last and total of a Content-Range are all checked."""
    complaint = stretch_complaint(206, httpx.Headers({"Content-Range": content_range}), STRETCH)
    if detail is None:
        assert complaint is None
    else:
        assert complaint is not None
        assert complaint[0] is (Kind.WRONG_SIZE if detail.startswith("has") else Kind.WRONG_RANGE)
        assert detail in complaint[1]


def test_a_206_with_another_length_is_wrong() -> None:
    """Content-Length must agree with Content-Range."""
    headers = httpx.Headers({"Content-Range": "bytes 100-149/1000", "Content-Length": "51"})
    assert stretch_complaint(206, headers, STRETCH) == (
        Kind.WRONG_RANGE,
        "Content-Length 51 for a range of 50",
    )


def test_a_416_is_wrong_when_the_size_is_known() -> None:
    """A share whose file ends before the range has another file than its record says."""
    complaint = stretch_complaint(416, httpx.Headers({"Content-Range": "bytes */10"}), STRETCH)
    assert complaint == (Kind.WRONG_RANGE, "shorter than its record says (HTTP 416)")


@pytest.mark.parametrize(
    ("stretch", "length", "complaint"),
    [
        (Stretch(0, 50, 1000), "1000", None),
        (Stretch(0, 50, 1000), "999", (Kind.WRONG_SIZE, "has 999 bytes, its record says 1000")),
        (Stretch(1, 50, 1000), "1000", (Kind.NO_RANGES, "the server ignores Range")),
        (Stretch(0, 50), "40", (Kind.WRONG_SIZE, "has 40 bytes, 50 were asked for")),
        (Stretch(0, 50), "60", None),
        (Stretch(0, 50), "?", None),
    ],
)
def test_a_200_is_usable_from_the_start_only(
    stretch: Stretch, length: str, complaint: tuple[Kind, str] | None
) -> None:
    """A whole file in place of a range serves if the range begins at 0 and the size is right."""
    assert stretch_complaint(200, httpx.Headers({"Content-Length": length}), stretch) == complaint


def test_a_page_in_place_of_a_blob_is_no_answer() -> None:
    """A portal's page is not wrong bytes: the share was not reached at all."""
    headers = httpx.Headers({"Content-Length": "40", "Content-Type": "text/html; charset=utf-8"})
    complaint = stretch_complaint(200, headers, STRETCH)
    assert complaint == (Kind.NOT_A_SHARE, "not a share's answer: an HTML page")
    headers["Accept-Ranges"] = "bytes"
    assert not is_page(headers)


def test_a_compressed_body_is_not_trusted() -> None:
    """Only identity will do."""
    assert encoding_complaint(httpx.Headers({})) is None
    assert encoding_complaint(httpx.Headers({"Content-Encoding": "Identity"})) is None
    gzip = encoding_complaint(httpx.Headers({"Content-Encoding": "gzip"}))
    assert gzip == (Kind.ENCODED, "content encoding gzip")


@given(st.integers(0, 10**15), st.integers(1, 10**9), st.integers(0, 10**9))
def test_what_a_good_server_answers_is_accepted(offset: int, length: int, rest: int) -> None:
    """Any stretch inside a file, answered exactly, draws no complaint."""
    size = offset + length + rest
    headers = httpx.Headers(
        {"Content-Range": f"bytes {offset}-{offset + length - 1}/{size}", "Content-Length": str(length)}
    )
    assert stretch_complaint(206, headers, Stretch(offset, length, size)) is None


@given(st.text(max_size=40))
def test_no_content_range_breaks_the_reader(text: str) -> None:
    """Whatever stands in a header, there is an answer and no exception."""
    headers = httpx.Headers(
        [(b"content-range", text.encode("utf-8")), (b"retry-after", text.encode("utf-8"))]
    )
    assert stretch_complaint(206, headers, STRETCH) is not None
    assert retry_after(headers, NOW) is None or text.strip()
