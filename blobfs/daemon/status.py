"""What ``blobfs status`` shows, as one JSON object."""

import os
import threading
import time
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from typing import Any

import trio

from blobfs.daemon.node import Node
from blobfs.daemon.shown import shown_failures, shown_past, shown_transfers
from blobfs.shares.listening import shown_address
from blobfs.sync.peer import Peer

_STARTED = int(time.time())
"""Unix seconds: this is imported when the process begins. Tells it from the one before."""


def node_status(node: Node) -> dict[str, Any]:
    """The state of the whole node."""
    return {
        "version": own_version(),
        "started": _STARTED,
        "state": "ready" if node.is_ready else "starting",
        "mountpoint": node.mountpoint,
        "pid": os.getpid(),
        "time": int(time.time()),
        "read_only": node.settings.read_only,
        "listen": shown_address(node.server.listener) if node.server is not None else None,
        "served": asdict(node.server.served()) if node.server is not None else None,
        "store": {
            "path": str(node.store.layout.root),
            "file_flushes": node.store.flushes.file_flushes,
            "group_flushes": node.store.flushes.group_flushes,
        },
        "space": node.sync.space.statistics() | node.sync.evicting.statistics(),
        "operations": node.adapter.statistics(),
        "files": node.fs.statistics(),
        "waits": node.fs.wait_statistics(),
        "sealing": node.sync.sealer.statistics(),
        "loading": node.sync.loads.statistics(),
        "packages": {
            "transactions": node.sync.transactions.statistics(),
            "trees": node.sync.trees.statistics(),
            "bundles": asdict(node.sync.bundles.statistics()),
        },
        "scrub": node.scrubber.statistics(),
        "thread_hops": node.sync.disk.hops,
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "threads": threading.active_count(),
        "transfers": shown_transfers(node.sync),
        "failures": shown_failures(node.sync.told),
        "shares": [_share_status(peer) for peer in node.peers],
    }


@cache
def own_version() -> str:
    return version("blobfs")


def _share_status(peer: Peer) -> dict[str, Any]:
    now = trio.current_time()
    return {
        "url": peer.shown,
        "plain": peer.is_plain,
        "group": peer.share.options.group,
        "down": peer.is_down(),
        "circuit": peer.health.circuit(now),
        "struck_for": peer.struck_for,
        "bodies": peer.bodies,
        "last_failure": None if peer.last_failure is None else asdict(peer.last_failure),
        "failed_ago": None if peer.last_failed is None else round(now - peer.last_failed, 3),
        **asdict(peer.estimates.statistics()),
        **asdict(peer.share.statistics()),
        "health": asdict(peer.health.statistics()),
        "history": shown_past(peer.history),
    }


def status_line(node: Node) -> str:
    """What ``systemctl status`` shows of it."""
    loading, pending = node.sync.loads.statistics(), node.sync.sealer.statistics()["pending"]
    down = sum(peer.is_down() for peer in node.peers)
    shares = f"{len(node.peers)} shares" + (f", {down} down" if down else "")
    return (
        f"{node.mountpoint}: {loading['loads']} loads, {loading['in_flight']} chunks in flight, "
        f"{node.fs.statistics()['handles']} open files, {pending} to seal; {shares}"
    )
