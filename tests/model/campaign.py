"""Examples, drawn by hypothesis and run one after the other, until one fails or enough were run."""

import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings

from tests.model.drawing import sequences, start
from tests.model.nodes import Nodes
from tests.model.run import Run
from tests.model.script import Operation
from tests.model.shrinking import smallest


@dataclass(frozen=True)
class Extent:
    """How much is run."""

    examples: int
    steps: int
    nodes: str = "a"
    seed: int | None = None
    """None: always the same examples."""
    minutes: float = math.inf
    """No example is begun after so many."""
    shrinking: float = 180.0
    """Seconds for making what failed small; what is smallest by then is shown."""


@dataclass
class Tally:
    """What was done, and what differed: the first example that failed, made small."""

    examples: int = 0
    operations: int = 0
    failure: str = ""


class Campaign:
    """Runs sequences on the same nodes, each in a directory of its own."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._salts = itertools.count()
        self.tally = Tally()

    def play(self, operations: Sequence[Operation]) -> None:
        run = Run(self._nodes, next(self._salts))
        try:
            run.play(operations)
        except BaseException:
            self._nodes.drop()
            raise
        finally:
            self.tally.examples += 1
            self.tally.operations += run.done

    def explain(self, operations: Sequence[Operation], first: AssertionError, seconds: float) -> None:
        """Finds the smallest sequence that fails, and says what it ends in."""
        last = [first]

        def fails(tried: Sequence[Operation]) -> bool:
            try:
                self.play(tried)
            except AssertionError as error:
                last[:] = [error]
                return True
            return False

        if fails(operations):
            smallest(operations, fails, seconds)
        self.tally.failure = "\n".join([str(last[0]), *getattr(last[0], "__notes__", [])])


def run_campaign(directory: Path, extent: Extent) -> Tally:
    """Ends with the first example that fails."""
    with Nodes(directory, extent.nodes) as nodes:
        campaign = Campaign(nodes)
        end = time.monotonic() + 60 * extent.minutes
        failed: list[tuple[list[Operation], AssertionError]] = []

        @settings(
            max_examples=extent.examples,
            deadline=None,
            derandomize=extent.seed is None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(sequences(extent.nodes, extent.steps))
        def example(steps: list[Operation]) -> None:
            if failed or time.monotonic() > end:
                return  # hypothesis would like to see it fail again
            operations = [*start(extent.nodes), *steps]
            try:
                campaign.play(operations)
            except AssertionError as error:
                failed.append((operations, error))

        if extent.seed is not None:
            example = hypothesis.seed(extent.seed)(example)
        example()
        for operations, error in failed:
            campaign.explain(operations, error, extent.shrinking)
        return campaign.tally
