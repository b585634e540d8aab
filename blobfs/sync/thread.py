"""The service in a thread of its own, for programs that are not trio's.

::

    with SyncThread(Path("store"), [ShareSetting("http://10.0.0.5:8970/")]) as thread:
        ticket = thread.interface.load_blob("models/a.gguf", on_success=use)

It is a daemon thread: a program that ends without `join` ends, and the next start of the store finishes what
was left, as after a crash.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from types import TracebackType
from typing import Self

import trio

from blobfs.config.settings import LoadSettings, ShareSetting
from blobfs.sync.commands import CAPACITY, CONCURRENT, Commands
from blobfs.sync.interface import LOAD, SHARE, Interface
from blobfs.sync.opening import open_service
from blobfs.sync.tickets import CallbackThread

_log = logging.getLogger(__name__)

DRAIN_WITHIN = 20.0
"""Seconds that commands under way get at the end, unless `join` is told otherwise."""
CLOSE_WITHIN = 40.0
"""Seconds for the rest of the end: what is not durable yet, connections, the store."""
USUAL_SETTINGS = LoadSettings()


class SyncThread:
    """It is started once and joined at the end, by any thread.

    Mutable: `_started`, set once by the thread; what `_ending` holds, by the first `join`, on the loop.
    """

    def __init__(
        self,
        store: Path,
        shares: Sequence[ShareSetting] = (),
        load: LoadSettings = USUAL_SETTINGS,
        *,
        capacity: int = CAPACITY,
        concurrent: int = CONCURRENT,
    ) -> None:
        """`capacity` commands of a kind may wait, `concurrent` of them run at a time."""
        self._store = store
        self._shares = shares
        self._load = load
        self._capacity = capacity
        self._concurrent = concurrent
        self._callbacks = CallbackThread()
        self._started: Future[Interface] = Future()
        self._end: Callable[[float], None] = lambda timeout: None
        self._thread = threading.Thread(target=self._main, name="blobfs", daemon=True)

    def __repr__(self) -> str:
        state = "running" if self._thread.is_alive() else "ended" if self._thread.ident else "not started"
        return f"<SyncThread {self._store} {state}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.join()

    @property
    def interface(self) -> Interface:
        """Once it is started."""
        if not self._started.done():
            raise RuntimeError("the thread has not been started")
        return self._started.result()

    def start(self) -> None:
        """Returns when the service works. Raises `StoreRefused` or `StartRefused` when it cannot."""
        self._thread.start()
        try:
            self._started.result()
        except BaseException:  # also an interrupted wait
            self.join(0)
            raise

    def join(self, timeout: float = DRAIN_WITHIN) -> bool:
        """Ends the service: nothing is accepted any more, what was accepted has `timeout` seconds to end.

        What is left then is cancelled, and reported with `ServiceEnded`. Whether all is done: the store
        closed, the thread ended, every callback called. A disk or a callback that hangs is not waited for
        for ever. May be called again, then it only waits.
        """
        if self._thread.ident is None:
            return True
        patience = min(timeout + CLOSE_WITHIN, threading.TIMEOUT_MAX)
        wait([self._started], patience)
        with contextlib.suppress(trio.RunFinishedError):
            self._end(timeout)
        self._thread.join(patience)
        if self._thread.is_alive():
            _log.warning("the service over %s did not end in time", self._store)
            return False
        return self._callbacks.join(patience)

    # In the thread

    def _main(self) -> None:
        self._callbacks.start()
        try:
            trio.run(self._run)
        except BaseException as failure:
            if self._started.done():
                _log.exception("unexpected, the service over %s has ended", self._store)
            else:
                self._started.set_exception(failure)

    async def _run(self) -> None:
        async with open_service(self._store, self._shares, self._load) as sync:
            commands = Commands((SHARE, LOAD), self._capacity, self._concurrent)
            token = trio.lowlevel.current_trio_token()
            asked = trio.Event()
            drain = trio.CancelScope()

            def end(timeout: float) -> None:
                if not asked.is_set():
                    drain.deadline = trio.current_time() + timeout
                    asked.set()

            async with trio.open_nursery() as nursery:
                await nursery.start(commands.run)
                self._end = lambda timeout: token.run_sync_soon(end, timeout)
                self._started.set_result(Interface(sync, commands, token, self._callbacks))
                await asked.wait()
                commands.close()
                with drain:
                    await commands.wait_idle()
                nursery.cancel_scope.cancel()
