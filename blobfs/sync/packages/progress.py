"""How far a load has come: numbers that whoever shows them reads when he likes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from blobfs.sync.flow import Flow


@dataclass(frozen=True, slots=True)
class Figures:
    """How much is here, and of how much. The total grows while it is found out what there is to load."""

    blobs: int = 0
    bytes: int = 0
    total_blobs: int = 0
    total_bytes: int = 0
    loaded_blobs: int = 0
    """Of `blobs`: those that were not whole here before."""
    loaded_bytes: int = 0
    """Of `bytes`: what came from the shares."""

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(
            self.blobs + other.blobs,
            self.bytes + other.bytes,
            self.total_blobs + other.total_blobs,
            self.total_bytes + other.total_bytes,
            self.loaded_blobs + other.loaded_blobs,
            self.loaded_bytes + other.loaded_bytes,
        )


class Progress:
    """Of one load. Mutable: `_done`, what is whole or was expected; `_arriving`, what tells how much of each
    blob on its way is here; `_parts`, loads that this one is made of; `flow`, what comes for it.
    """

    def __init__(self) -> None:
        self._done = Figures()
        self._arriving: list[Callable[[], int]] = []
        self._parts: list[Progress] = []
        self.flow = Flow()

    def __repr__(self) -> str:
        return f"<Progress {self.figures()}>"

    def figures(self) -> Figures:
        arriving = Figures(bytes=sum(present() for present in self._arriving))
        return sum((part.figures() for part in self._parts), self._done + arriving)

    def expect(self, blobs: int, length: int) -> None:
        """There is so much more that is wanted."""
        self._done += Figures(total_blobs=blobs, total_bytes=length)

    def found(self, blobs: int, length: int) -> None:
        """So much of it was here."""
        self._done += Figures(blobs, length)

    def loaded(self, blobs: int, length: int, came: int | None = None) -> None:
        """So much of it has been loaded; `came` if some of the bytes were here before."""
        came = length if came is None else came
        self._done += Figures(blobs, length, loaded_blobs=blobs, loaded_bytes=came)

    @contextmanager
    def arriving(self, present: Callable[[], int]) -> Iterator[None]:
        """A blob is on its way; `present` tells how many of its bytes are here, and must not wait."""
        self._arriving.append(present)
        try:
            yield
        finally:
            self._arriving.remove(present)

    def include(self, part: "Progress") -> None:
        self._parts.append(part)

    def exclude(self, part: "Progress") -> None:
        self._parts.remove(part)
