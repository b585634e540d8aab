"""What was meant by a name that nobody knows. Pure."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """To be put behind "unknown"; nothing where nothing resembles it."""
    names = list(known)
    plain = name.lower().replace("-", "_")
    found = [plain] if plain in names else get_close_matches(plain, names, n=1, cutoff=0.7)
    return f"; did you mean {found[0]}?" if found else ""
