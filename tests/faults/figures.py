"""What a daemon holds: taken when it is warm and idle, and again at the end. What has grown is left over."""

import contextlib
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

from tests.mount.node import BlobfsNode
from tests.mount.probes import children_of

RSS = "rss KiB"
RSS_SHARE = 0.2
RSS_KIB = 16 * 1024
"""Growth of memory up to both together is the allocator's business."""

Figures = dict[str, int]


def take(node: BlobfsNode) -> Figures:
    """Asks /proc, the store's directories and the control socket; never the mount."""
    assert node.process is not None
    pid = node.process.pid
    status = node.status()
    figures = Counter({f"fd {kind}": count for kind, count in _descriptors(pid).items()})
    figures["threads"] = len(os.listdir(f"/proc/{pid}/task"))
    figures["child processes"] = len(children_of(pid))
    figures[RSS] = _rss_kib(pid)
    for directory in ("incoming", "partial"):
        figures[f"files in {directory}/"] = len(os.listdir(node.store / directory))
    if isinstance(status.get("tasks"), int):
        figures["tasks"] = status["tasks"]
    figures["requests in flight"] = sum(share["in_flight"] for share in status["shares"])
    # Idle ones are kept for the next request: what counts is the connections beyond them.
    idle = sum(share["idle_connections"] for share in status["shares"])
    figures["idle connections"] = idle
    figures["fd tcp socket"] -= idle
    figures.update({f"loading {key}": count for key, count in _numbers(status["loading"]) if key in _NOW})
    figures["open handles"] = status["files"]["handles"]
    return dict(figures)


_NOW = frozenset({"loads", "in_flight", "spans"})
"""Of the loads: what is so now. The rest counts what has been."""
_MAY_DIFFER = frozenset({"idle connections"})


def is_idle(found: Figures) -> bool:
    """Whether nothing is under way."""
    return not any(count for name, count in found.items() if name.startswith(("loading ", "requests ")))


def _numbers(values: dict[str, Any]) -> list[tuple[str, int]]:
    return [(key, value) for key, value in values.items() if isinstance(value, int)]


def _descriptors(pid: int) -> Counter[str]:
    kinds: Counter[str] = Counter()
    tcp = {line.split()[9] for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]}
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            kinds[_kind(os.readlink(path), tcp)] += 1
    return kinds


def _kind(target: str, tcp: set[str]) -> str:
    """What a descriptor is of; `tcp`: the inodes of TCP sockets."""
    if (match := re.fullmatch(r"socket:\[(\d+)\]", target)) is not None:
        return "tcp socket" if match[1] in tcp else "other socket"
    if target.startswith("/") and target != "/dev/fuse":
        return "file"
    return re.sub(r":\[\d+\]\Z", "", target).replace("anon_inode:", "")


def _rss_kib(pid: int) -> int:
    match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1])


def leftovers(before: Figures, after: Figures) -> list[str]:
    """What there is more of than there was."""
    return [
        f"{name}: {before.get(name, 0)} before, {count} after"
        for name, count in after.items()
        if name not in _MAY_DIFFER and count > _allowed(name, before.get(name, 0))
    ]


def _allowed(name: str, before: int) -> float:
    return before * (1 + RSS_SHARE) + RSS_KIB if name == RSS else before


def table(before: Figures, after: Figures) -> str:
    rows = [
        f"  {name:<22} {before.get(name, 0):>9} {after.get(name, 0):>9}" for name in sorted(before | after)
    ]
    return "\n".join([f"  {'':<22} {'warm':>9} {'end':>9}", *rows])
