"""What the numbers among the settings count, and how far they go: told at their types. Values only."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_type_hints


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a number may be. Its text is what one says who asks for such a number."""

    unit: str
    least: float = 0
    is_open: bool = False
    """`least` itself is too little."""
    most: float | None = None

    def __str__(self) -> str:
        if self.most is not None:
            return f"{self.unit} from {self.least:g} to {self.most:g}"
        return (
            f"{self.unit}, more than {self.least:g}"
            if self.is_open
            else f"{self.unit} from {self.least:g} on"
        )

    def allows(self, number: float) -> bool:
        """Whether it is in here; NaN is not."""
        if self.most is not None and number > self.most:
            return False
        return number > self.least if self.is_open else number >= self.least


Seconds = Annotated[float, Quantity("seconds")]
Patience = Annotated[float, Quantity("seconds", is_open=True)]
"""How long something may take: with 0 all of it would fail at once."""
Size = Annotated[int, Quantity("bytes")]
Count = Annotated[int, Quantity("a whole number", least=1)]
Part = Annotated[float, Quantity("a number", most=1)]


def quantities(values: type) -> Mapping[str, Quantity]:
    """Those of a dataclass, by field."""
    hints = get_type_hints(values, include_extras=True)
    return {name: found for name, hint in hints.items() for found in _annotations(hint)}


def _annotations(hint: Any) -> Iterator[Quantity]:
    """In what stands at a type, or at one of a union's."""
    for one in (hint, *getattr(hint, "__args__", ())):
        yield from (found for found in getattr(one, "__metadata__", ()) if isinstance(found, Quantity))


def demand_quantities(values: object) -> None:
    """Raises `ValueError` for a field of a dataclass whose number is none of its quantity."""
    for name, quantity in quantities(type(values)).items():
        number = getattr(values, name)
        if number is not None and not quantity.allows(number):
            raise ValueError(f"{name} is {quantity}, not {number}")
