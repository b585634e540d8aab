"""What ``blobfs status`` says, of made-up answers of a node."""

import pytest

from blobfs.cli.status_words import describe, health, room, share_rate, short_url, sparkline, transfer_name
from tests.cli.statuses import REFUSED, bucket, dead_share, failure, share, space, status, transfer

MIB = 1 << 20


def line_of(found: dict, label: str) -> str:
    (line,) = [line for line in describe(found) if line.startswith(f"  {label} ")]
    return line.split(maxsplit=1)[1]


def test_the_head() -> None:
    """Where it is, since when, and who."""
    first = next(iter(describe(status(read_only=True))))
    assert first == "/mnt/models  ready for 3 h, pid 17, read-only, store /var/lib/blobfs"


def test_transfers() -> None:
    """How far, how fast, for whom, from where; and why nothing comes."""
    assert line_of(status(transfers=[transfer("a/b")]), "transfer") == (
        "a/b  25% of 4.0 MiB, loading for 1 reader, 512.0 KiB/s, 6 s left, from a:8001 60%, b:8001/x 40%"
    )
    waiting = transfer("f", state="waiting", rate=None, eta=None, shares={}, last_error="no share has it")
    assert line_of(status(transfers=[waiting]), "transfer") == (
        "f  25% of 4.0 MiB, waiting for 1 reader, no share has it"
    )
    many = [transfer(str(number)) for number in range(12)]
    lines = list(describe(status(transfers=many)))
    assert sum(line.startswith("  transfer ") for line in lines) == 8
    assert "            and 4 more" in lines


def test_what_has_no_name() -> None:
    """Is called by its id."""
    assert transfer_name(transfer(None, kind="package")) == "package " + "ab" * 32
    assert transfer_name(transfer("a") | {"names": ["a", "b", "c"]}) == "a and 2 more"


def test_failures() -> None:
    """When, what, and why: what the caller was told, and the last attempt."""
    assert line_of(status(failures=[failure("d/f", count=3)]), "failed") == (
        "12 s ago, read d/f: no share can be reached (dead:1: connection refused) (EHOSTUNREACH x3)"
    )


def test_names_that_a_terminal_would_obey() -> None:
    """Whatever shares call their files, it is one line of text."""
    evil = "a\x1b[2J\nb\u202e"
    found = status(
        mountpoint=evil,
        transfers=[transfer(evil, last_error=evil)],
        failures=[failure(evil, message=evil)],
        shares=[share(f"http://{evil}/", struck_for=evil)],
    )
    assert all(line.isprintable() for line in describe(found))


@pytest.mark.parametrize(
    ("found", "word"),
    [
        (share("http://a/"), "up"),
        (share("http://a/", requests={}), "not asked"),
        (dead_share(), "down"),
        (dead_share() | {"circuit": "half-open"}, "may be down"),
        (dead_share() | {"circuit": "half-open", "history": [bucket(1.0, MIB)]}, "slow"),
        (dead_share() | {"last_failure": REFUSED | {"kind": "stalled", "received": 5}}, "slow"),
    ],
)
def test_health(found: dict, word: str) -> None:
    """A share that was overtaken by another one, and delivers, is not down."""
    assert health(found) == word


def test_the_rate_of_a_share() -> None:
    """Over the last seconds; what is long ago does not count."""
    history = [bucket(100.0, 50 * MIB), bucket(8.0, 4 * MIB), bucket(3.0, 4 * MIB)]
    assert share_rate(share("http://a/", history=history)) == MIB
    assert share_rate(share("http://a/", history=history[:1])) == 0


def test_sparklines() -> None:
    """The latest stands at the right; something is higher than nothing; what only failed is marked."""
    history = [bucket(299.0, 100), bucket(31.0, 0, failures=1), bucket(1.0, 800, failures=1)]
    assert sparkline(history, 10) == [("▂", False), *[("▁", False)] * 7, ("▁", True), ("█", False)]
    assert sparkline([], 3) == [("▁", False)] * 3
    assert sparkline([bucket(301.0, 5)], 3) == [("▁", False)] * 3


def test_room() -> None:
    """Of the quota, or of the disk where there is none."""
    assert room(space()) == (6 << 30, 10 << 30, "6.0 of 10.0 GiB quota, 50.0 GiB free on the disk")
    words = "of the disk, 50.0 GiB free, 6.0 GiB in the store"
    assert room(space(quota=None)) == (50 << 30, 100 << 30, words)
    assert room(space(quota=None, used=None))[2] == "of the disk, 50.0 GiB free"


def test_short_urls() -> None:
    """What tells shares apart."""
    assert [short_url(url) for url in ("http://a:1/", "https://h/x/y/", "odd")] == ["a:1", "h/x/y", "odd"]
