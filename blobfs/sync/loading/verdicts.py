"""What shares said of one blob that they would say again, so that they are not asked again."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import trio

from blobfs.model import Attempt, Kind
from blobfs.shares.retry_rules import is_worth_asking_again
from blobfs.sync.peer import Peer

BELIEVED_FOR = 5.0
"""Seconds for which "I do not have it", "not for you" or an answer that breaks the rules is believed: shares
get blobs, rights are given, servers are mended."""

_FOR_GOOD = frozenset({Kind.WRONG_BYTES, Kind.CHANGED})
"""As long as the load lives: it has other bytes."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Until when (trio's clock) a share is not asked, and why."""

    attempt: Attempt
    until: float


class Verdicts:
    """Of one load, or one bundle. Mutable: `_verdicts`, by `note`, and by the clock."""

    def __init__(self, believed_for: float = BELIEVED_FOR) -> None:
        self._believed_for = believed_for
        self._verdicts: dict[Peer, Verdict] = {}

    def note(self, peer: Peer, attempt: Attempt) -> None:
        """Remembers what is worth remembering of a failure."""
        if not is_worth_asking_again(attempt.kind):
            until = math.inf if attempt.kind in _FOR_GOOD else trio.current_time() + self._believed_for
            self._verdicts[peer] = Verdict(attempt, until)

    def forgive(self, peer: Peer) -> None:
        """It has said that it has something by now."""
        if peer in self._verdicts and self._verdicts[peer].attempt.kind is Kind.ABSENT:
            del self._verdicts[peer]

    def forget(self) -> None:
        """The shares are not what they were."""
        self._verdicts.clear()

    def attempts(self) -> list[Attempt]:
        return [verdict.attempt for verdict in self._verdicts.values()]

    def without(self, peers: Iterable[Peer]) -> tuple[Peer, ...]:
        """The peers that are still worth asking."""
        now = trio.current_time()
        for peer in [peer for peer, verdict in self._verdicts.items() if verdict.until <= now]:
            del self._verdicts[peer]
        return tuple(peer for peer in peers if peer not in self._verdicts)
