"""A share together with what this node has learned about it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import trio

from blobfs.model import Attempt, Outcome
from blobfs.shares.client import Share
from blobfs.shares.failure import ShareFailure
from blobfs.shares.health import ShareHealth


@dataclass(eq=False)
class Peer:
    """One share to load from. `health` is changed by `asking` only."""

    share: Share
    health: ShareHealth = field(default_factory=ShareHealth)

    @property
    def shown(self) -> str:
        return self.share.shown

    @property
    def is_plain(self) -> bool:
        return self.share.options.plain

    def is_down(self) -> bool:
        return self.health.is_down(trio.current_time())

    @contextmanager
    def asking(self) -> Iterator[Share]:
        """Around one request: what comes of it goes into the share's health."""
        try:
            yield self.share
        except ShareFailure as failure:
            self.health.record_failure(failure.attempt.outcome, trio.current_time(), failure.retry_after)
            raise
        self.health.record_success(trio.current_time())

    def not_asked(self, phase: str) -> Attempt:
        return Attempt(self.shown, phase, Outcome.UNREACHABLE, "not asked: it failed a moment ago")

    def too_late(self, phase: str, seconds: float) -> Attempt:
        detail = f"no answer in {seconds:g} s"
        return Attempt(self.shown, phase, Outcome.UNREACHABLE, detail, ms=int(seconds * 1000))

    def wrong(self, phase: str, detail: str) -> ShareFailure:
        return ShareFailure(Attempt(self.shown, phase, Outcome.WRONG, detail))
