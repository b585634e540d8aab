"""What one source says: values with where they stand, and the mistakes in it. Values only."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from blobfs.errors import ConfigRefused


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value stands: a line of a file and its key there, or what was typed."""

    place: str
    line: int = 0
    key: str = ""

    @property
    def spot(self) -> str:
        return one_line(f"{self.place}:{self.line}" if self.line else self.place)

    def __str__(self) -> str:
        return f"{self.spot}: {self.key}" if self.key else self.spot


DEFAULT = Origin("default")

GATHERED = "fuse_options"
"""The one key whose values from all sources hold together."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that cannot be as it is."""

    origin: Origin
    text: str

    def __str__(self) -> str:
        return one_line(f"{self.origin}: {self.text}")


@dataclass(frozen=True, slots=True)
class Given:
    """A value that was set."""

    value: Any
    origin: Origin


@dataclass(frozen=True, slots=True)
class GivenShare:
    """One share as it was set: what was said of it, by field."""

    origin: Origin
    values: Mapping[str, Given]
    wrong: Collection[str] = ()
    """What was set to what it cannot be: it is told already, and not missing."""

    def is_set(self, name: str) -> bool:
        return name in self.wrong or self.get(name) is not None

    def get(self, name: str) -> Any:
        """The value of a field, None if nothing was said of it."""
        given = self.values.get(name)
        return None if given is None else given.value

    def origin_of(self, name: str) -> Origin:
        given = self.values.get(name)
        return self.origin if given is None else given.origin


@dataclass(slots=True)
class Layer:
    """Everything that one source says. Filled while it is read, not changed afterwards."""

    values: dict[str, Given] = field(default_factory=dict)
    """By the keys of the catalogue."""
    wrong: set[str] = field(default_factory=set)
    """Keys that are set to what they cannot be: it is told already, and they are not missing."""
    shares: list[GivenShare] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Merged:
    """What is in force: of each value the strongest source's, of the shares the list of the strongest."""

    values: Mapping[str, Given]
    shares: Sequence[GivenShare]
    wrong: Collection[str] = ()

    def is_set(self, key: str) -> bool:
        """Whether something was said of it, right or wrong."""
        return key in self.wrong or self.get(key) is not None

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a setting that was set."""
        given = self.values.get(key)
        return default if given is None else given.value

    def origin(self, key: str) -> Origin:
        given = self.values.get(key)
        return DEFAULT if given is None else given.origin


def merge(layers: Sequence[Layer]) -> Merged:
    """The strongest first. Options for libfuse come together, whoever said them."""
    values: dict[str, Given] = {}
    for layer in reversed(layers):
        for key, given in layer.values.items():
            before = values.get(key)
            if key == GATHERED and before is not None:
                given = Given((*before.value, *given.value), given.origin)
            values[key] = given
    shares: Sequence[GivenShare] = next((layer.shares for layer in layers if layer.shares), [])
    return Merged(values, shares, {key for layer in layers for key in layer.wrong})


def one_line(text: str) -> str:
    """What cannot be printed, the end of a line for one, is told as Python writes it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def refuse(mistakes: Iterable[Mistake]) -> ConfigRefused:
    """To be raised: a line for each, those in a file in its order."""
    found = sorted(mistakes, key=lambda mistake: mistake.origin.line)
    return ConfigRefused("\n".join(dict.fromkeys(map(str, found))))
