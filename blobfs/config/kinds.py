"""What values there are, each read from a text (a flag, ``-o``) and from TOML, and written as TOML again.

A kind says what it expects in the words of one who asks for it. What is something else is a `ValueError`
with one line: what was expected, and what was found.
"""

import json
import math
import re
import types
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Protocol, Union, get_args, get_origin

from blobfs.config.addresses import shown_of_refused
from blobfs.config.quantities import Quantity
from blobfs.config.secret_files import PREFIX
from blobfs.config.settings import FileRole

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.ASCII | re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_SIZE = re.compile(r"([0-9]{1,15})(?:([KMGT])(?:i?B)?)?", re.ASCII | re.IGNORECASE)


class Kind(Protocol):
    """One kind of value. `expected` completes "expected ...", `metavar` stands for it in ``--help``."""

    @property
    def expected(self) -> str: ...

    @property
    def metavar(self) -> str: ...

    def from_text(self, text: str) -> Any: ...

    def from_toml(self, found: Any) -> Any: ...

    def to_toml(self, value: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class Number:
    """Seconds, counts, parts of a whole."""

    quantity: Quantity
    is_whole: bool

    @property
    def expected(self) -> str:
        return str(self.quantity)

    @property
    def metavar(self) -> str:
        return "SECONDS" if self.quantity.unit == "seconds" else "NUMBER"

    def from_text(self, text: str) -> Any:
        if not (_WHOLE if self.is_whole else _NUMBER).fullmatch(text):
            raise refusal(self, text)
        return self._checked(int(text) if self.is_whole else float(text))

    def from_toml(self, found: Any) -> Any:
        if type(found) is int or (type(found) is float and not self.is_whole):
            return self._checked(found if self.is_whole else float(found))
        raise refusal(self, found)

    def to_toml(self, value: Any) -> Any:
        return value

    def _checked(self, number: float) -> Any:
        if not math.isfinite(number) or not self.quantity.allows(number):
            raise refusal(self, number)
        return number


@dataclass(frozen=True, slots=True)
class Bytes:
    """A size: ``10G`` is so many times 1024 to the third, a number is bytes."""

    quantity: Quantity

    @property
    def expected(self) -> str:
        return f"a size like 500M or 10G, or {self.quantity}"

    @property
    def metavar(self) -> str:
        return "SIZE"

    def from_text(self, text: str) -> Any:
        match = _SIZE.fullmatch(text)
        if match is None:
            raise refusal(self, text)
        number = int(match[1]) << (10 * (" KMGT".index(match[2].upper()) if match[2] else 0))
        if not self._allows(number):
            raise refusal(self, text)
        return number

    def from_toml(self, found: Any) -> Any:
        if isinstance(found, str):
            return self.from_text(found)
        if type(found) is not int or not self._allows(found):
            raise refusal(self, found)
        return found

    def _allows(self, number: int) -> bool:
        return self.quantity.allows(number) and number < 1 << 63  # what the system counts in

    def to_toml(self, value: Any) -> Any:
        for unit, shift in (("T", 40), ("G", 30), ("M", 20), ("K", 10)):
            if value and value % (1 << shift) == 0:
                return f"{value >> shift}{unit}"
        return value


@dataclass(frozen=True, slots=True)
class Switch:
    """Yes or no. Among mount options and flags it stands alone."""

    expected: str = "yes or no"
    metavar: str = ""

    def from_text(self, text: str) -> Any:
        if text not in ("", "yes", "no"):
            raise refusal(self, text)
        return text != "no"

    def from_toml(self, found: Any) -> Any:
        if not isinstance(found, bool):
            raise ValueError(f"expected true or false, found {shown(found)}")
        return found

    def to_toml(self, value: Any) -> Any:
        return value


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    words: type[StrEnum]

    @property
    def expected(self) -> str:
        return "one of " + ", ".join(self.words)

    @property
    def metavar(self) -> str:
        return "|".join(self.words)

    def from_text(self, text: str) -> Any:
        return self.from_toml(text)

    def from_toml(self, found: Any) -> Any:
        if found not in list(self.words):
            raise refusal(self, found)
        return self.words(found)

    def to_toml(self, value: Any) -> Any:
        return str(value)


@dataclass(frozen=True, slots=True)
class Text:
    """Not empty, and on one line."""

    expected: str = "a text"
    metavar: str = "TEXT"

    def from_text(self, text: str) -> Any:
        return self.from_toml(text)

    def from_toml(self, found: Any) -> Any:
        if not isinstance(found, str) or not found or not found.isprintable():
            raise refusal(self, found)
        return found

    def to_toml(self, value: Any) -> Any:
        return value


@dataclass(frozen=True, slots=True)
class FilePath:
    """A file or a directory; `role` is what must be in it, None where that is not looked at."""

    role: FileRole | None = None

    @property
    def expected(self) -> str:
        return "a path" if self.role is None else f"the path of a file, or {PREFIX}NAME"

    @property
    def metavar(self) -> str:
        return "PATH" if self.role is None else "FILE"

    def from_text(self, text: str) -> Any:
        return self.from_toml(text)

    def from_toml(self, found: Any) -> Any:
        if not isinstance(found, str) or not found or not found.isprintable():
            raise refusal(self, found)
        return Path(found)

    def to_toml(self, value: Any) -> Any:
        return str(value)

    def anchored(self, path: Path, directory: Path) -> Path:
        """Absolute, if the path is one below `directory`."""
        return path if self.role is not None and str(path).startswith(PREFIX) else directory / path


@dataclass(frozen=True, slots=True)
class Texts:
    """A list of texts; as a text, one of them."""

    expected: str = "a list of texts"
    metavar: str = "TEXT"

    def from_text(self, text: str) -> Any:
        return (Text().from_text(text),)

    def from_toml(self, found: Any) -> Any:
        if not isinstance(found, list):
            raise refusal(self, found)
        return tuple(Text().from_toml(one) for one in found)

    def to_toml(self, value: Any) -> Any:
        return list(value)


def kind_of(hint: Any) -> Kind:
    """The kind of a field, by what stands as its type."""
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (one for one in get_args(hint) if one is not types.NoneType)
    notes: Sequence[Any] = ()
    if get_origin(hint) is Annotated:
        hint, *notes = get_args(hint)
    for note in notes:
        if isinstance(note, Quantity):
            return Bytes(note) if note.unit.startswith("bytes") else Number(note, is_whole=hint is int)
        if isinstance(note, FileRole):
            return FilePath(note)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return Choice(hint)
    return _SIMPLE[hint]


_SIMPLE: dict[Any, Kind] = {bool: Switch(), str: Text(), Path: FilePath(), tuple[str, ...]: Texts()}


def refusal(kind: Kind, found: Any) -> ValueError:
    """What is raised for a value that is none of this kind."""
    return ValueError(f"expected {kind.expected}, found {shown(found)}")


def shown(found: Any) -> str:
    """A value as it stands in a file, in short."""
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, str):
        found = shown_of_refused(found) if "://" in found else found
        return json.dumps(found if len(found) <= 60 else f"{found[:57]}...", ensure_ascii=False)
    if isinstance(found, dict):
        return "a table"
    if isinstance(found, list):
        return "a list"
    if isinstance(found, date | time):
        return "a date or a time"
    return f"{found:g}" if isinstance(found, float) else str(found)[:60]
