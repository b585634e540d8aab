"""The parts of ``blobfs status`` that are lists: transfers, what readers were told, what shares did of late.

All are bounded, however many files are open: what is shown once a second must cost the node little. So values
without values in them are taken apart here, which takes a fifth of what `dataclasses.asdict` takes.
"""

from dataclasses import fields
from typing import Any

import trio

from blobfs.sync.recent import ShareHistory
from blobfs.sync.service import SyncService
from blobfs.sync.told import Told, ToldFailures, errno_name
from blobfs.sync.transfers import Transfer, transfers

MOST_TRANSFERS = 200
"""Those that are loading come first; ``loading.loads`` says how many there are in all."""
MOST_ATTEMPTS = 10
"""Of one failure: the last ones."""
MOST_NAMES = 5
"""Of one blob."""


def shown_transfers(sync: SyncService) -> list[dict[str, Any]]:
    now = trio.current_time()
    return [_shown_transfer(transfer, now) for transfer in transfers(sync, now)[:MOST_TRANSFERS]]


def _shown_transfer(transfer: Transfer, now: float) -> dict[str, Any]:
    rate, eta = transfer.rate, transfer.eta
    return {
        "kind": transfer.kind,
        "key": transfer.key,
        "part_of": transfer.part_of,
        "names": list(transfer.names[:MOST_NAMES]),
        "size": transfer.size,
        "present": transfer.present,
        "rate": None if rate is None else round(rate),
        "eta": None if eta is None else round(eta, 1),
        "readers": transfer.readers,
        "state": transfer.state,
        "shares": dict(transfer.shares),
        "started_ago": round(now - transfer.began, 1),
        "last_error": transfer.last_error,
    }


def shown_failures(told: ToldFailures) -> list[dict[str, Any]]:
    now = trio.current_time()
    return [_shown_failure(each, now) for each in told.latest()]


def _shown_failure(told: Told, now: float) -> dict[str, Any]:
    return {
        "time": told.time,
        "ago": round(now - told.at, 1),
        "operation": told.operation,
        "what": told.what,
        "errno": errno_name(told),
        "message": told.message,
        "count": told.count,
        "request": told.request,
        "attempts": [_flat(attempt) for attempt in told.attempts[-MOST_ATTEMPTS:]],
    }


def shown_past(history: ShareHistory) -> list[dict[str, Any]]:
    return [_flat(seconds) for seconds in history.past(trio.current_time())]


def _flat(value: Any) -> dict[str, Any]:
    """A frozen value's fields."""
    return {field.name: getattr(value, field.name) for field in fields(value)}
