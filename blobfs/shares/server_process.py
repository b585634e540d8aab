"""The built-in share server: `<store>/share` over HTTP, in a process of its own.

Rules. The mount daemon binds the listening socket and keeps it; a child process serves it
(`blobfs.shares.server`, which is not imported here). So a big download never stalls the mount, the port is
known before the child is up, and clients just wait while a child that died is replaced. The child says
`READY` on its stdout, and ends when its stdin does: the daemon is gone, however it went. Certificate and
token reach it as the names of their files. What the daemon has of blobs that are not whole, it asks it for
(`blobfs.shares.parts`); what it has served, it counts where the daemon looks (`served_counts`).
"""

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio

from blobfs.config.settings import ServeSettings
from blobfs.shares.admission import read_terms
from blobfs.shares.parts import Parts, answer_questions
from blobfs.shares.served_counts import Served, new_counts, read_counts

_log = logging.getLogger(__name__)

FIRST_DELAY = 1.0
"""Seconds before a child that died is replaced; doubles with every further death."""

LAST_DELAY = 30.0

PROVEN_SECONDS = 60.0
"""A child that lived this long was a good one: the delay starts over."""

END_SECONDS = 2.0
"""From SIGTERM to SIGKILL; the answers in flight need `asgi.GRACE` of it."""

_BOOT = "import sys; sys.path.append(sys.argv.pop(1)); import blobfs.shares.server as it; it.main()"
"""Finds our package where the daemon found it. `-m` would look into the current directory first, which
may be anybody's, and PYTHONPATH goes before the standard library."""

_ROOT = os.fspath(Path(__file__).parents[2])

READY = b"ready\n"

FILES = ("certificate", "key", "client_ca", "token_file")
"""The settings that the child is given, each as an option of that name."""


class ShareServer:
    """Keeps a child serving `share` on `listener`, which stays the caller's.

    `_child` is the process while it serves, changed by `_run_child` alone; `_is_outdated` says that it has
    to be told of other files as soon as it does.
    """

    def __init__(
        self,
        share: Path,
        listener: socket.socket,
        settings: ServeSettings,
        *,
        first_delay: float = FIRST_DELAY,
    ) -> None:
        """Raises `ConfigRefused` if a child could not serve with these settings."""
        read_terms(settings)
        self.listener = listener
        self.settings = settings
        self._share = share
        self._first_delay = first_delay
        self._counts = new_counts()
        self._child: trio.Process | None = None
        self._is_outdated = False

    def reload(self) -> None:
        """Has certificate and token read again, for new connections. Raises `ConfigRefused`: then the old
        ones stay in force."""
        terms = read_terms(self.settings)
        if terms.tls is None and terms.token is None:
            return  # nothing that could have changed
        if self._child is None:
            self._is_outdated = True  # it would die of the signal before it expects it
        else:
            self._child.send_signal(signal.SIGHUP)

    def served(self) -> Served:
        """By all children so far."""
        return read_counts(self._counts)

    async def run(
        self, parts: Parts, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Until cancelled. `parts` is what the node has of blobs that it loads.

        Started when the first child serves, or has died: a mount does not depend on its share server.
        """
        report_started: list[Callable[[], None]] = [task_status.started]

        def started_once() -> None:
            while report_started:
                report_started.pop()()

        delay = self._first_delay
        while True:
            born = trio.current_time()
            code = await self._run_child(parts, started_once)
            started_once()
            if trio.current_time() - born >= PROVEN_SECONDS:
                delay = self._first_delay
            # Code 0: somebody signalled it, as systemd does to the whole group when it stops the mount.
            level = logging.WARNING if code else logging.INFO
            _log.log(level, "the share server ended with code %d, the next one starts in %g s", code, delay)
            await trio.sleep(delay)
            delay = min(2 * delay, LAST_DELAY)

    async def _run_child(self, parts: Parts, on_ready: Callable[[], None]) -> int:
        """One child's life; returns its exit code."""
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            async with trio.open_nursery() as nursery:
                with its:
                    process = await self._start_child(nursery, its)
                nursery.start_soon(answer_questions, ours, parts)
                await self._watch_child(process, on_ready)
                nursery.cancel_scope.cancel()
        assert process.returncode is not None
        return process.returncode

    async def _start_child(self, nursery: trio.Nursery, questions: socket.socket) -> trio.Process:
        descriptors = self.listener.fileno(), questions.fileno(), self._counts
        process: trio.Process = await nursery.start(
            partial(
                trio.run_process,
                [sys.executable, "-P", "-c", _BOOT, _ROOT, *self._arguments(questions.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                check=False,
                deliver_cancel=_end_child,
                pass_fds=descriptors,
            )
        )
        return process

    async def _watch_child(self, process: trio.Process, on_ready: Callable[[], None]) -> None:
        """Until it has ended."""
        assert process.stdin is not None
        assert process.stdout is not None
        async with process.stdin, process.stdout:
            if await process.stdout.receive_some(len(READY)):
                self._child = process
                if self._is_outdated:
                    self._is_outdated = False
                    process.send_signal(signal.SIGHUP)
                on_ready()
            try:
                await process.wait()
            finally:
                self._child = None

    def _arguments(self, questions: int) -> list[str]:
        files = ((name, getattr(self.settings, name)) for name in FILES)
        return [
            *("--share", os.fspath(self._share.absolute()), "--fd", str(self.listener.fileno())),
            f"--parts-fd={questions}",
            f"--counts-fd={self._counts}",
            f"--log-level={_log.getEffectiveLevel()}",
            *(f"--{name}={path}" for name, path in files if path is not None),
        ]


async def _end_child(process: trio.Process) -> None:
    process.terminate()
    with trio.move_on_after(END_SECONDS):
        await process.wait()
    process.kill()
