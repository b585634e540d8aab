"""Numbers and names as people read them."""

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def size(count: int) -> str:
    """``1 byte``, ``12 bytes``, ``1.5 MiB``."""
    if count < 1024:
        return "1 byte" if count == 1 else f"{count} bytes"
    number, unit = float(count), 0
    while number >= 1024 and unit + 1 < len(_UNITS):
        number, unit = number / 1024, unit + 1
    return f"{number:.1f} {_UNITS[unit]}"


def rate(bytes_per_second: float) -> str:
    """``1.5 MiB/s``."""
    return f"{size(round(bytes_per_second))}/s"


def part(done: int, whole: int) -> str:
    """``1.5 of 3.0 GiB``, ``512.0 KiB of 3.0 GiB``: the unit once where it is the same."""
    left, right = size(done), size(whole)
    if left.partition(" ")[2] == right.partition(" ")[2]:
        left = left.partition(" ")[0]
    return f"{left} of {right}"


def percent(done: int, whole: int) -> int:
    """Rounded down, so that 100 is all of it; of nothing, all is done."""
    return 100 * done // whole if whole > 0 else 100


def duration(seconds: float) -> str:
    """``0.35 s``, ``12 s``, ``5 min``, ``3 h``, ``4 days``."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"


def count(number: int, what: str) -> str:
    """``1 reader``, ``2 readers``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def printable_lines(text: str) -> str:
    """As `printable`, with the lines it has."""
    return "\n".join(map(printable, text.split("\n")))


def printable(text: str) -> str:
    """In one line, and nothing in it that a terminal obeys: names and messages may come from anywhere."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
