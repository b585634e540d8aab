"""The built-in share server: `<store>/share` over HTTP, in a process of its own.

Rules. The mount daemon binds the listening socket and keeps it; a child process serves it
(`blobfs.shares.server`, which is not imported here). So a big download never stalls the mount, the port is
known before the child is up, and clients just wait while a child that died is replaced. The child says
`READY` on its stdout, and ends when its stdin does: the daemon is gone, however it went.
"""

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio

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


async def run_share_server(
    share: Path,
    listener: socket.socket,
    *,
    first_delay: float = FIRST_DELAY,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Keeps a child serving `share` on `listener` until cancelled; the listener stays the caller's.

    Started when the first child serves, or has died: a mount does not depend on its share server.
    """
    report_started: list[Callable[[], None]] = [task_status.started]

    def started_once() -> None:
        while report_started:
            report_started.pop()()

    delay = first_delay
    while True:
        born = trio.current_time()
        code = await _run_child(share, listener, started_once)
        started_once()
        if trio.current_time() - born >= PROVEN_SECONDS:
            delay = first_delay
        # Code 0: somebody signalled it, as systemd does to the whole group when it stops the mount.
        level = logging.WARNING if code else logging.INFO
        _log.log(level, "the share server ended with code %d, the next one starts in %g s", code, delay)
        await trio.sleep(delay)
        delay = min(2 * delay, LAST_DELAY)


async def _run_child(share: Path, listener: socket.socket, on_ready: Callable[[], None]) -> int:
    """One child's life; returns its exit code."""
    descriptor = listener.fileno()
    arguments = ["--share", os.fspath(share.absolute()), "--fd", str(descriptor)]
    async with trio.open_nursery() as nursery:
        process = await nursery.start(
            partial(
                trio.run_process,
                [sys.executable, "-P", "-c", _BOOT, _ROOT, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                check=False,
                deliver_cancel=_end_child,
                pass_fds=(descriptor,),
            )
        )
        async with process.stdin, process.stdout:
            if await process.stdout.receive_some(len(READY)):
                on_ready()
            await process.wait()
    return int(process.returncode)


async def _end_child(process: trio.Process) -> None:
    process.terminate()
    with trio.move_on_after(END_SECONDS):
        await process.wait()
    process.kill()
