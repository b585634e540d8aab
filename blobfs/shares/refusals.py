"""What a server says in its log about clients it turned away: a line for each kind, not one for each client.

Anybody may knock as often as he likes, and a log that he can fill hides what others need from it. So the
first of a kind is told at once, and after `QUIET_SECONDS` the next one tells how many there were.
"""

import logging
from dataclasses import dataclass

import trio

QUIET_SECONDS = 600.0
"""Between two lines of one kind."""

MOST_KINDS = 100
"""A kind is a short text of ours or OpenSSL's, so there are some dozens; the rest is not told."""


@dataclass(slots=True)
class _Told:
    at: float
    """trio's clock."""
    since: int = 0
    """Those that were not told."""


class Refusals:
    """One server's. `_told` has an entry for each kind that came, changed by `note` alone."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._told: dict[str, _Told] = {}

    def note(self, level: int, kind: str, client: tuple[str, int] | None) -> None:
        """`kind` is a text without anything a client chose. `client` is who it was now, None if unknown."""
        told = self._told.get(kind)
        now = trio.current_time()
        if told is None:
            if len(self._told) < MOST_KINDS:
                self._told[kind] = _Told(now)
                self._log.log(level, "turned away %s: %s", _shown(client), kind)
        elif now - told.at < QUIET_SECONDS:
            told.since += 1
        else:
            self._log.log(level, "turned away %s and %d others: %s", _shown(client), told.since, kind)
            self._told[kind] = _Told(now)


def _shown(client: tuple[str, int] | None) -> str:
    return client[0] if client else "a client"
