"""Numbers as people read them."""

import pytest

from blobfs.cli.words import count, duration, part, percent, printable, rate, size


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (5 << 20, "5.0 MiB"),
        (3 << 50, "3072.0 TiB"),
    ],
)
def test_sizes(number: int, shown: str) -> None:
    """In the largest unit that is not larger."""
    assert size(number) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (0.347, "0.35 s"),
        (12.4, "12 s"),
        (119, "119 s"),
        (300, "5 min"),
        (10_000, "3 h"),
        (400_000, "5 days"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    """As exact as anybody wants to know."""
    assert duration(seconds) == shown


def test_counts() -> None:
    """One of a thing is no plural."""
    assert [count(number, "reader") for number in (0, 1, 2)] == ["0 readers", "1 reader", "2 readers"]


def test_parts() -> None:
    """The unit stands once where it is the same; a percentage of 100 is all of it."""
    assert part(3 << 29, 3 << 30) == "1.5 of 3.0 GiB"
    assert part(1 << 19, 3 << 30) == "512.0 KiB of 3.0 GiB"
    assert part(1, 2) == "1 byte of 2 bytes"
    assert [percent(*pair) for pair in ((0, 0), (0, 9), (998, 999), (999, 999))] == [100, 0, 99, 100]


def test_rates() -> None:
    """Like sizes."""
    assert rate(1.5 * 1024 * 1024) == "1.5 MiB/s"


def test_what_a_terminal_would_obey() -> None:
    """Control characters, new lines and what turns the direction of a text are shown, not sent."""
    assert printable("a\x1b[2Jb\nc\u202edé☂") == r"a\x1b[2Jb\nc\u202edé☂"
