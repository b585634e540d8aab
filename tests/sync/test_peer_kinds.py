"""The kinds of failure that a node makes itself: it did not wait any longer, or did not ask."""

import trio

from blobfs.model import Attempt, Kind, Name, Outcome
from blobfs.sync.peer import Peer, ShareLike
from tests.sync.fake_share import FakeShare

USUAL = 5.0
PAUSE = 60.0
"""Longer than any backoff."""


async def ask(peer: Peer) -> Attempt:
    async def question(share: ShareLike) -> object:
        return await share.record(Name("f"))

    answer = await peer.ask("record", USUAL, question)
    assert isinstance(answer, Attempt)
    return answer


async def test_our_own_bound(autojump_clock: trio.testing.MockClock) -> None:
    """A share that says nothing is left when its time is over."""
    attempt = await ask(Peer(FakeShare(record="h*")))
    assert (attempt.kind, attempt.outcome) == (Kind.TOO_LATE, Outcome.UNREACHABLE)
    assert (attempt.phase, attempt.ms) == ("record", USUAL * 1000)


async def test_what_goes_on_failing_is_not_asked(autojump_clock: trio.testing.MockClock) -> None:
    """Until its pause is over; that is a kind of its own, so that it is not counted as a failure again."""
    share = FakeShare(record="u*")
    peer, kinds = Peer(share), []
    for _ in range(5):
        kinds.append((await ask(peer)).kind)
        await trio.sleep(PAUSE)
    kinds += [(await ask(peer)).kind for _ in range(3)]
    assert kinds == [Kind.CONNECT_REFUSED] * 6 + [Kind.NOT_ASKED] * 2
    assert peer.health.statistics().failures == share.counts()["record"] == 6
