"""The calls of the service for programs that are not trio's. Any thread may make them.

1. A call returns at once, with a ticket. It raises only what speaks against accepting it: `QueueFull`,
   `ServiceEnded`, `ValueError`. Everything else comes by the ticket and the callbacks.
2. Every ticket ends, exactly once; at the latest when the service ends.
3. A trio program uses `SyncService` itself: a call from one of its tasks would block its loop, and trio
   refuses that.
"""

import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import trio

from blobfs import errors
from blobfs.config.settings import LoadTerms, ShareSetting
from blobfs.record import BlobRecord
from blobfs.sync.commands import Command, Commands, Ending, KindStatistics
from blobfs.sync.load_blob import LoadedBlob
from blobfs.sync.service import SyncService
from blobfs.sync.tickets import Callbacks, CallbackThread, Ticket, end

SHARE, LOAD = "share", "load"
"""The kinds of commands."""


class Interface:
    """The calls; after the end of the service they raise `ServiceEnded`."""

    def __init__(
        self, sync: SyncService, commands: Commands, token: trio.lowlevel.TrioToken, callbacks: CallbackThread
    ) -> None:
        self._sync = sync
        self._commands = commands
        self._token = token
        self._callbacks = callbacks

    def share_blob(
        self,
        resource_id: str,
        blob: bytes | Path,
        *,
        on_success: Callable[[BlobRecord], object] | None = None,
        on_error: Callable[[Exception], object] | None = None,
        on_complete: Callable[[], object] | None = None,
    ) -> Ticket[BlobRecord]:
        """As `SyncService.share_blob`. A file is read after this returns: it must stay as it is till then."""

        def work(deadline: float | None) -> Awaitable[BlobRecord]:
            return self._sync.share_blob(resource_id, blob)

        return self._send(SHARE, work, Callbacks(on_success, on_error, on_complete))

    def load_blob(
        self,
        resource_id: str,
        known_shares: Sequence[str | ShareSetting] | None = None,
        max_tries: int | None = None,
        retry_timeout: float | None = None,
        deadline: float | None = None,
        *,
        on_success: Callable[[LoadedBlob], object] | None = None,
        on_error: Callable[[Exception], object] | None = None,
        on_complete: Callable[[], object] | None = None,
    ) -> Ticket[LoadedBlob]:
        """As `SyncService.load_blob`. `deadline` is absolute, on the clock of `time.monotonic`.

        None is what is set for all loads: their shares, their tries, and no deadline.
        """
        shares = None if known_shares is None else _share_settings(known_shares)
        LoadTerms(shares, max_tries, retry_timeout)  # what is wrong with them is said here and now

        def work(deadline: float | None) -> Awaitable[LoadedBlob]:
            return self._sync.load_blob(resource_id, LoadTerms(shares, max_tries, retry_timeout, deadline))

        return self._send(LOAD, work, Callbacks(on_success, on_error, on_complete), deadline)

    def statistics(self) -> dict[str, KindStatistics]:
        """Of the commands, by kind."""
        return self._commands.statistics()

    def _send(
        self,
        kind: str,
        work: Callable[[float | None], Awaitable[Any]],
        callbacks: Callbacks,
        deadline: float | None = None,
    ) -> Ticket[Any]:
        """`work` is called with the deadline on trio's clock."""
        future: Future[Any] = Future()

        def report(ending: Ending) -> None:
            end(future, ending)
            self._callbacks.report(callbacks, ending)

        def send() -> Command:
            turn = None if deadline is None else trio.current_time() + deadline - time.monotonic()
            command = Command(kind, partial(work, turn), report, math.inf if turn is None else turn)
            self._commands.send_nowait(command)
            return command

        try:
            command = trio.from_thread.run_sync(send, trio_token=self._token)
        except trio.RunFinishedError:
            raise errors.ServiceEnded("the service has ended") from None
        return Ticket(future, partial(self._cancel, command))

    def _cancel(self, command: Command) -> None:
        with contextlib.suppress(trio.RunFinishedError):  # then it has ended, too
            self._token.run_sync_soon(self._commands.cancel, command)


def _share_settings(shares: Sequence[str | ShareSetting]) -> tuple[ShareSetting, ...]:
    if isinstance(shares, str):
        raise ValueError("known_shares are several: a list of URLs")
    return tuple(ShareSetting(share) if isinstance(share, str) else share for share in shares)
