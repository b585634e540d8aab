"""The node that is measured. It is not running when a measurement begins, and not when it has ended."""

from types import TracebackType
from typing import Self

from tools.benchmarks.node import MeasuredNode


class ScaledNode(MeasuredNode):
    """Who measures starts and stops it."""

    lifetime = 3600.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clear_away()
        if error is not None:
            error.add_note(f"log of {self.name}:\n{self.log()[-4000:]}")
