"""Settings that are read again while the node runs: by ``blobfs reload``, and on SIGHUP.

1. All or nothing. What is wrong with the new settings is said with its place, and the old ones stay in force.
2. Shares, limits, quota and log level change at once. Nobody's read fails of it while another share has what
   it reads (`blobfs.sync.changing`). Certificate and token of the node's own share are read anew.
3. What cannot change without a restart is told, and stays as it was.
"""

import logging
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import trio

from blobfs.config.settings import NodeSettings
from blobfs.daemon.logs import set_level
from blobfs.daemon.node import Node, demand_room
from blobfs.daemon.readiness import notify, notify_reloading
from blobfs.errors import StartRefused
from blobfs.sync.changing import NewShares, close_shares, prepare_shares, take_over

_log = logging.getLogger(__name__)

LIVE = frozenset({"load", "space", "log_level"})
"""With the shares, which are looked at one by one, all that changes at once."""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """Settings by their names in the configuration file, shares by their URLs."""

    changed: list[str]
    needs_restart: list[str]


async def reload(node: Node) -> Reloaded:
    """Raises `StartRefused`; then nothing has changed."""
    async with node.reloading:
        wanted = await trio.to_thread.run_sync(node.reread)
        demand_room(wanted, node.store)
        new = await prepare_shares(node.sync.peers, wanted.shares, wanted.load)
        try:
            if node.server is not None:
                node.server.reload()
        except StartRefused:
            await new.aclose()
            raise
        return await _take_over(node, wanted, new)


async def _take_over(node: Node, wanted: NodeSettings, new: NewShares) -> Reloaded:
    names = list(differences(node.settings, wanted))
    changed = [name for name in names if name.partition(".")[0] in LIVE]
    changed += new.changes(node.sync.peers)
    closing = take_over(node.sync, new, wanted.load, wanted.space)
    node.scrubber.set_rate(wanted.load.scrub_rate)
    set_level(wanted.log_level)
    node.settings = replace(
        node.settings,
        shares=wanted.shares,
        load=wanted.load,
        space=wanted.space,
        log_level=wanted.log_level,
    )
    await close_shares(closing)
    return Reloaded(changed, [name for name in names if name.partition(".")[0] not in LIVE])


def differences(before: NodeSettings, now: NodeSettings) -> Iterator[str]:
    """The names of all that differs, but for shares."""
    for each in fields(NodeSettings):
        if each.name != "shares":
            yield from _differences(each.name, getattr(before, each.name), getattr(now, each.name))


def _differences(name: str, before: Any, now: Any) -> Iterator[str]:
    if not is_dataclass(before):
        if before != now:
            yield name
        return
    for each in fields(before):
        yield from _differences(f"{name}.{each.name}", getattr(before, each.name), getattr(now, each.name))


async def reload_and_tell(node: Node) -> Reloaded:
    """As `reload`; systemd and the log are told. Raises `StartRefused`."""
    if node.is_ready:
        notify_reloading()
    try:
        found = await reload(node)
    except StartRefused as refused:
        _log.warning("the settings stay as they are: %s", refused)
        raise
    finally:
        if node.is_ready:
            notify("READY=1")
    _log.info("settings were read again: %s", ", ".join(found.changed) or "nothing has changed")
    if found.needs_restart:
        _log.warning("these settings hold after a restart only: %s", ", ".join(found.needs_restart))
    return found


async def reload_on_signal(node: Node, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """On SIGHUP, until cancelled.

    A node that runs in somebody's terminal gets that signal too when the terminal is closed: it ends then.
    """
    had_terminal = _has_terminal()
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            if had_terminal and not _has_terminal():
                os.kill(os.getpid(), signal.SIGTERM)
                continue
            try:
                await reload_and_tell(node)
            except StartRefused:
                continue  # it is in the log
            except Exception:
                _log.exception("unexpected, in reading the settings again")


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
