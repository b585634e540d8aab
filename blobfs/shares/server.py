"""What serves a share directory over HTTP: ``blobfs serve``, and the daemon's child (`server_process`)."""

import argparse
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import trio

from blobfs.config.settings import ServeSettings
from blobfs.errors import ConfigRefused
from blobfs.shares.admission import Admission
from blobfs.shares.asgi import serve_asgi
from blobfs.shares.bearer import demand_token
from blobfs.shares.server_app import share_app
from blobfs.shares.server_process import FILES, READY

_log = logging.getLogger(__name__)


async def serve_share(
    share: Path,
    listener: socket.socket,
    admission: Admission | None = None,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves `share` from this process until cancelled; takes `listener` over. Started with its address."""
    if admission is None:
        await serve_asgi(share_app(share), listener, task_status=task_status)
        return
    app = demand_token(share_app(share, for_all=admission.is_for_all), lambda: admission.terms.token)
    tls = admission.tls if admission.terms.tls is not None else None
    await serve_asgi(app, listener, tls=tls, task_status=task_status)


async def serve_share_until_signalled(
    share: Path, listener: socket.socket, admission: Admission, on_ready: Callable[[], None]
) -> None:
    """`serve_share` until SIGTERM or SIGINT. SIGHUP has the files of `admission` read again, except on a
    terminal, where it means that the user has left."""
    async with trio.open_nursery() as nursery:
        if not os.isatty(sys.stdin.fileno()):
            await nursery.start(_reload_when_signalled, admission)
        await nursery.start(_cancel_when_signalled, nursery.cancel_scope)
        await nursery.start(serve_share, share, listener, admission)
        on_ready()


async def _reload_when_signalled(
    admission: Admission, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            try:
                await trio.to_thread.run_sync(admission.reload)
            except ConfigRefused as refused:
                _log.warning("what was read at the start stays in force: %s", refused)
            else:
                _log.info("certificate and token were read again")


async def _cancel_when_signalled(
    scope: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        await anext(signals)
        scope.cancel()


async def _cancel_when_orphaned(scope: trio.CancelScope) -> None:
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stdin:
        while await stdin.receive_some(1024):
            pass
    scope.cancel()


async def _live_as_child(share: Path, listener: socket.socket, admission: Admission) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_when_orphaned, nursery.cancel_scope)
        await serve_share_until_signalled(share, listener, admission, _say_ready)
        nursery.cancel_scope.cancel()


def _say_ready() -> None:
    os.write(sys.stdout.fileno(), READY)


def main() -> None:
    """The child's life; people have ``blobfs serve``."""
    parser = argparse.ArgumentParser(prog="blobfs.shares.server")
    parser.add_argument("--share", type=Path, required=True)
    parser.add_argument("--fd", type=int, required=True, help="a listening socket that was inherited")
    for name in FILES:
        parser.add_argument(f"--{name}", type=Path)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    settings = ServeSettings(**{name: getattr(arguments, name) for name in FILES})
    try:
        admission = Admission(settings)
    except ConfigRefused as refused:
        raise SystemExit(str(refused)) from None
    trio.run(_live_as_child, arguments.share, socket.socket(fileno=arguments.fd), admission)
