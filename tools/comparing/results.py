"""What a comparison finds, as values: nothing here measures anything."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Result:
    """One figure of one peer in one case of a workload."""

    workload: str
    """``sequential``."""
    case: str
    """``missing``, ``here, cold``, ``warm``, ``missing, 16 readers``."""
    peer: str
    """``blobfs``, ``ext4``, ``rclone``, ``curl + sha256sum``."""
    unit: str
    """``s``, ``ms``, ``us``, ``MB``, ``requests``, ``copies``, ``1``."""
    values: tuple[float, ...]
    """One a turn, in the order of the turns: turn k of all peers ran side by side."""
    failure: str = ""
    """It crashed, hung, gave wrong bytes: in words. There may be no values then."""

    @property
    def median(self) -> float | None:
        return statistics.median(self.values) if self.values else None


@dataclass(frozen=True, slots=True)
class PeerNote:
    """What the report says about a peer, besides figures."""

    name: str
    version: str | None
    """None: it is not installed."""
    options: str
    """How it was run, in words."""


@dataclass(frozen=True, slots=True)
class Findings:
    """All that one run has found, and on what."""

    blobfs: str
    """The commit."""
    when: str
    machine: str
    quick: bool
    runs: int
    peers: tuple[PeerNote, ...]
    results: tuple[Result, ...]


def find(results: Iterable[Result], workload: str, case: str, peer: str) -> Result | None:
    wanted = (workload, case, peer)
    return next((each for each in results if (each.workload, each.case, each.peer) == wanted), None)


def ratio(above: Result | None, below: Result | None) -> float | None:
    """The median over the turns of above/below; None where one of them has no figures, or 0."""
    if above is None or below is None:
        return None
    pairs = [(a, b) for a, b in zip(above.values, below.values, strict=False) if b]
    return statistics.median(a / b for a, b in pairs) if pairs else None
