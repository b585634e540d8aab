"""What follows from each kind of failure, and how long to wait before asking again. Pure.

Three things are decided here and nowhere else:

1. The outcome: what a reader is told in the end (`sync.answers`).
2. Whether the same question may have another answer in a moment. What a share says about the blob itself
   (absent, refused, other bytes) it will say again; what happened on the way may not happen again.
3. Whether it counts against the share as a whole, so that others are asked first for a while. Only what makes
   the next question to it, whatever it is, slow or in vain does: a share that answers at once, even with an
   error, costs little. Damaged bytes are of one blob, and the load of that blob remembers them.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from blobfs.model import Attempt, Kind, Outcome
from blobfs.requests import current_request

LONGEST_PAUSE = 30.0
"""Seconds that backoff alone can come to; a share may ask for more (Retry-After)."""

_MOST_DOUBLINGS = 64
"""Enough to reach any limit from any base; a float overflows after a thousand."""


class Again(enum.Enum):
    """Whether to ask the same share for the same thing once more."""

    LATER = enum.auto()  # in the next round, after its pause
    NEVER = enum.auto()  # not in this load


@dataclass(frozen=True, slots=True)
class Rule:
    outcome: Outcome
    ask_again: Again
    counts_against_share: bool


_DOWN = Rule(Outcome.UNREACHABLE, Again.LATER, counts_against_share=True)
_HOPELESS = Rule(Outcome.UNREACHABLE, Again.NEVER, counts_against_share=True)
_OTHER_BYTES = Rule(Outcome.WRONG, Again.NEVER, counts_against_share=False)

RULES: Mapping[Kind, Rule] = {
    Kind.DNS: _DOWN,
    Kind.CONNECT_REFUSED: _DOWN,
    Kind.CONNECT_TIMEOUT: _DOWN,
    Kind.NO_ROUTE: _DOWN,
    Kind.TLS: _HOPELESS,
    Kind.PROXY: _DOWN,
    Kind.CLOSED: _DOWN,
    Kind.NO_ANSWER: _DOWN,
    Kind.STALLED: _DOWN,
    Kind.RESET: _DOWN,
    Kind.SHORT_BODY: _DOWN,
    Kind.LONG_BODY: _OTHER_BYTES,
    Kind.WRONG_RANGE: _OTHER_BYTES,
    Kind.WRONG_SIZE: _OTHER_BYTES,
    Kind.NO_RANGES: _OTHER_BYTES,
    Kind.ENCODED: _OTHER_BYTES,
    Kind.NOT_HTTP: _DOWN,
    Kind.NOT_A_SHARE: _DOWN,
    Kind.ABSENT: Rule(Outcome.ABSENT, Again.NEVER, counts_against_share=False),
    Kind.REFUSED: Rule(Outcome.REFUSED, Again.NEVER, counts_against_share=False),
    Kind.BUSY: Rule(Outcome.BUSY, Again.LATER, counts_against_share=True),
    Kind.SERVER_ERROR: _DOWN,
    Kind.BAD_STATUS: Rule(Outcome.UNREACHABLE, Again.NEVER, counts_against_share=False),
    Kind.REDIRECTED: _HOPELESS,
    Kind.WRONG_BYTES: _OTHER_BYTES,
    Kind.CHANGED: Rule(Outcome.CHANGED, Again.NEVER, counts_against_share=False),
    Kind.TOO_LATE: _DOWN,
    Kind.NOT_ASKED: Rule(Outcome.UNREACHABLE, Again.LATER, counts_against_share=False),
    Kind.LOCAL: Rule(Outcome.UNREACHABLE, Again.LATER, counts_against_share=False),
}


def failed_attempt(
    share: str, phase: str, kind: Kind, detail: str, status: int | None = None, received: int = 0, ms: int = 0
) -> Attempt:
    """The only maker of attempts: the outcome is the kind's, the request the one that is being worked for."""
    outcome = RULES[kind].outcome
    return Attempt(share, phase, kind, outcome, detail, status, received, ms, current_request())


def is_worth_asking_again(kind: Kind) -> bool:
    """Whether a later round may bring another answer from the share."""
    return RULES[kind].ask_again is Again.LATER


def pause(turn: int, base: float, jitter: float, retry_after: float | None, left: float) -> float | None:
    """Seconds before the next round; None when the deadline comes first: give up now.

    Backoff with full jitter: `jitter`, at random from 0 to 1, of `base` doubled `turn` times. What a share
    asked for is the least. `left` are the seconds until the deadline: a pause that ends at it leaves no time
    to ask, so waiting it out would be in vain.
    """
    longest = min(base * 2.0 ** min(turn, _MOST_DOUBLINGS), LONGEST_PAUSE)
    seconds = max(jitter * longest, retry_after or 0.0)
    return seconds if seconds < left else None
