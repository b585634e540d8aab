"""``blobfs mount``: runs a node in the foreground, or starts one and returns when it is ready."""

import gc
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click
import trio

from blobfs.cli.arguments import complete_directory
from blobfs.cli.config_flags import RefusedConfiguration, SettingsCommand, setting_flags
from blobfs.config.settings import NodeSettings
from blobfs.config.sources import read_settings, read_sources
from blobfs.daemon.logs import set_up_logging
from blobfs.daemon.node import Node
from blobfs.daemon.readiness import take_mount_descriptor
from blobfs.daemon.running import run_node
from blobfs.errors import BlobfsError, ConfigRefused

COLLECTIONS = 10_000, 5, 200
"""Objects made until the youngest are looked through for garbage, and how often until older ones are. A
listing of 100,000 names makes half a million that stay: looking through all of them stops all for 0.2 s,
through what these numbers leave, 10 ms."""


@click.command(cls=SettingsCommand)
@setting_flags
@click.option("--background", is_flag=True, help="Return when the mount is ready; log to STORE/log.")
@click.option("--ready-fd", type=int, hidden=True)
@click.argument("mountpoint", type=Path, required=False, shell_complete=complete_directory)
def mount(
    mountpoint: Path | None,
    config: Path | None,
    options: tuple[str, ...],
    background: bool,
    ready_fd: int | None,
    **flags: Any,
) -> None:
    """Mount a node on MOUNTPOINT: what is written there is shared, what is missing is loaded.

    Where to mount, and everything else, can also stand in a configuration file: docs/configuration.md.
    """
    try:
        reading = read_sources(mountpoint, config, options, flags)
        settings = reading.settings()
    except ConfigRefused as refused:
        raise RefusedConfiguration(str(refused)) from refused
    if background:
        _start_in_background()
        return
    on_terminal = ready_fd is None and sys.stderr.isatty()  # else it goes into a file before long
    set_up_logging(settings.log_level, str(settings.mountpoint), on_terminal=on_terminal)
    reading.log_warnings()

    def reread() -> NodeSettings:
        return read_settings(mountpoint, config, options, flags)

    start = _BackgroundStart(ready_fd) if ready_fd is not None else None
    gc.freeze()  # what was imported stays: else a full collection stops everybody for 20 ms
    gc.set_threshold(*COLLECTIONS)
    try:
        trio.run(_run, settings, reread, start)
    except (BlobfsError, ExceptionGroup) as failure:
        refusal = _refusal(failure)
        if refusal is None:
            raise
        if start is not None:
            start.give_up()
        raise click.ClickException(str(refusal)) from failure
    _end_at_once()


def _end_at_once() -> NoReturn:
    """All is closed and on the disk. The interpreter would take what is in memory apart, piece by piece: five
    seconds if the kernel knew a million names.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


async def _run(
    settings: NodeSettings, reread: Callable[[], NodeSettings], start: "_BackgroundStart | None"
) -> None:
    def on_opened(node: Node) -> None:
        if start is not None:
            start.begin_log(settings.store / "log")

    def on_ready(node: Node) -> None:
        if start is not None:
            start.say_ready()

    await run_node(
        settings, reread, on_opened=on_opened, on_ready=on_ready, descriptor=take_mount_descriptor()
    )


def _refusal(failure: BaseException) -> BlobfsError | None:
    """What the operator is told in one line; None where there is more to it than that."""
    while isinstance(failure, BaseExceptionGroup) and len(failure.exceptions) == 1:
        failure = failure.exceptions[0]
    return failure if isinstance(failure, BlobfsError) else None


def _start_in_background() -> None:
    """Starts the same command without ``--background`` and waits until it is ready or has failed."""
    reading, writing = os.pipe()
    arguments = [argument for argument in sys.argv[1:] if argument != "--background"]
    position = arguments.index("mount") + 1
    command = [sys.executable, "-P", "-m", "blobfs"]
    command += [*arguments[:position], "--ready-fd", str(writing), *arguments[position:]]
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=(writing,),
        start_new_session=True,
    )
    os.close(writing)
    with os.fdopen(reading, "rb") as ready:
        if ready.read(1):
            return
    # Its one line is on our stderr already.
    raise SystemExit(child.wait() or 1)


class _BackgroundStart:
    """The start of a node whose starter waits for it.

    The log goes to the store from the moment there is one: neither this process nor its children may
    hold on to the starter's stderr, which may be a pipe that somebody reads to its end. Only the one line
    that says why the start failed goes there still.
    """

    def __init__(self, ready_fd: int) -> None:
        os.set_inheritable(ready_fd, False)
        self._ready_fd = ready_fd
        self._stderr: int | None = None

    def begin_log(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        log = os.open(path, flags, 0o600)
        self._stderr = os.dup(2)  # not inheritable
        os.dup2(log, 2)
        os.close(log)

    def say_ready(self) -> None:
        if self._stderr is not None:
            os.close(self._stderr)
            self._stderr = None
        os.write(self._ready_fd, b"1")
        os.close(self._ready_fd)

    def give_up(self) -> None:
        """What is said from here on, the starter's user sees."""
        if self._stderr is not None:
            os.dup2(self._stderr, 2)
