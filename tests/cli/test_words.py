"""Numbers as people read them."""

import pytest

from blobfs.cli.words import count, duration, size


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
    [(0, "0 s"), (0.347, "0.35 s"), (12.4, "12 s"), (119, "119 s"), (300, "5 min"), (10_000, "3 h")],
)
def test_durations(seconds: float, shown: str) -> None:
    """As exact as anybody wants to know."""
    assert duration(seconds) == shown


def test_counts() -> None:
    """One of a thing is no plural."""
    assert [count(number, "reader") for number in (0, 1, 2)] == ["0 readers", "1 reader", "2 readers"]
