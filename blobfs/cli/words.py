"""Numbers as people read them."""

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def size(count: int) -> str:
    """``1 byte``, ``12 bytes``, ``1.5 MiB``."""
    if count < 1024:
        return "1 byte" if count == 1 else f"{count} bytes"
    number, unit = float(count), 0
    while number >= 1024 and unit + 1 < len(_UNITS):
        number, unit = number / 1024, unit + 1
    return f"{number:.1f} {_UNITS[unit]}"


def duration(seconds: float) -> str:
    """``0.35 s``, ``12 s``, ``5 min``, ``3 h``."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def count(number: int, what: str) -> str:
    """``1 reader``, ``2 readers``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
