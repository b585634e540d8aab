"""Which request a task works for: one call of the kernel, or one of a control command.

Every task that a request starts inherits it (trio copies the context). So a line in the log, an attempt at a
share and what the share is told can be tied to the reader that caused them, also when others failed by it.
"""

import itertools
import secrets
from contextvars import ContextVar, Token

_RUN = secrets.token_hex(2)
"""Tells the requests of one run from those of another in one log."""

_current: ContextVar[int] = ContextVar("request", default=0)
_numbers = itertools.count(1)


def begin_request() -> Token[int]:
    """From here on the task works for a new request; to be given to `end_request`."""
    return _current.set(next(_numbers))


def end_request(token: Token[int]) -> None:
    _current.reset(token)


def current_request() -> str | None:
    """``4f2a-1b``; None for what the node does by itself."""
    number = _current.get()
    return f"{_RUN}-{number:x}" if number else None
