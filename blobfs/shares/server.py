"""What serves a share directory over HTTP: ``blobfs serve``, and the daemon's child (`server_process`)."""

import argparse
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import trio

from blobfs.config.settings import ServeSettings
from blobfs.errors import ConfigRefused
from blobfs.shares.admission import Admission
from blobfs.shares.asgi import serve_asgi
from blobfs.shares.bearer import demand_token
from blobfs.shares.parts import PartsOfDaemon
from blobfs.shares.served_counts import ServedCounts
from blobfs.shares.server_app import count_served, share_app
from blobfs.shares.server_process import FILES, READY

_log = logging.getLogger(__name__)

_JOURNAL_LEVELS = {logging.DEBUG: "<7>", logging.INFO: "<6>", logging.WARNING: "<4>", logging.ERROR: "<3>"}


@dataclass(frozen=True, slots=True)
class Daemon:
    """The mount whose share is served, as its child knows it."""

    parts: PartsOfDaemon
    counts: ServedCounts


async def serve_share(
    share: Path,
    listener: socket.socket,
    admission: Admission | None = None,
    daemon: Daemon | None = None,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves `share` from this process until cancelled; takes `listener` over. Started with its address."""
    parts = None if daemon is None else daemon.parts
    if admission is None:
        await serve_asgi(share_app(share, parts=parts), listener, task_status=task_status)
        return
    share_files = share_app(share, for_all=admission.is_for_all, parts=parts)
    app = demand_token(share_files, lambda: admission.terms.token)
    if daemon is not None:
        app = count_served(app, daemon.counts)
    tls = admission.tls if admission.terms.tls is not None else None
    await serve_asgi(app, listener, tls=tls, task_status=task_status)


async def serve_share_until_signalled(
    share: Path,
    listener: socket.socket,
    admission: Admission,
    on_ready: Callable[[], None],
    daemon: Daemon | None = None,
) -> None:
    """`serve_share` until SIGTERM or SIGINT. SIGHUP has the files of `admission` read again, unless it comes
    because the terminal was closed: that ends it, too."""
    async with trio.open_nursery() as nursery:
        await nursery.start(_reload_when_signalled, admission, nursery.cancel_scope)
        await nursery.start(_cancel_when_signalled, nursery.cancel_scope)
        if daemon is not None:
            nursery.start_soon(daemon.parts.run)
        await nursery.start(serve_share, share, listener, admission, daemon)
        on_ready()


async def _reload_when_signalled(
    admission: Admission,
    scope: trio.CancelScope,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    had_terminal = _has_terminal()
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            if had_terminal and not _has_terminal():
                scope.cancel()
                return
            try:
                await trio.to_thread.run_sync(admission.reload)
            except ConfigRefused as refused:
                _log.warning("what was read before stays in force: %s", refused)
            else:
                _log.info("certificate and token were read again")


def _has_terminal() -> bool:
    """One that was closed is none any more."""
    return sys.stdin is not None and os.isatty(sys.stdin.fileno())


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


async def _live_as_child(share: Path, listener: socket.socket, admission: Admission, daemon: Daemon) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_when_orphaned, nursery.cancel_scope)
        await serve_share_until_signalled(share, listener, admission, _say_ready, daemon)
        nursery.cancel_scope.cancel()


def _say_ready() -> None:
    os.write(sys.stdout.fileno(), READY)


def main() -> None:
    """The child's life; people have ``blobfs serve``."""
    parser = argparse.ArgumentParser(prog="blobfs.shares.server")
    parser.add_argument("--share", type=Path, required=True)
    parser.add_argument("--fd", type=int, required=True, help="a listening socket that was inherited")
    parser.add_argument("--parts-fd", type=int, required=True, help="a socket that the daemon answers on")
    parser.add_argument("--counts-fd", type=int, required=True, help="where to count what was served")
    parser.add_argument("--log-level", type=int, default=logging.INFO)
    for name in FILES:
        parser.add_argument(f"--{name}", type=Path)
    arguments = parser.parse_args()
    _set_up_logging(arguments.log_level)
    settings = ServeSettings(**{name: getattr(arguments, name) for name in FILES})
    try:
        admission = Admission(settings)
    except ConfigRefused as refused:
        raise SystemExit(str(refused)) from None
    with socket.socket(fileno=arguments.parts_fd) as questions:
        daemon = Daemon(PartsOfDaemon(questions), ServedCounts(arguments.counts_fd))
        trio.run(_live_as_child, arguments.share, socket.socket(fileno=arguments.fd), admission, daemon)


def _set_up_logging(level: int) -> None:
    """Lines as the daemon's are, on the stderr that was its own. The journal takes a level in front of a line
    (sd-daemon(3)), and has times of its own."""
    if "JOURNAL_STREAM" in os.environ and not sys.stderr.isatty():
        for number, name in _JOURNAL_LEVELS.items():
            logging.addLevelName(number, name)
        logging.basicConfig(level=level, format="%(levelname)s%(name)s: %(message)s")
    else:
        logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
