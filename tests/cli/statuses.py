"""What a node might answer to ``/status``, made up: nothing is going on, unless it is said."""

from typing import Any


def status(**changes: Any) -> dict[str, Any]:
    return {
        "version": "0.1.0",
        "started": 1_000,
        "time": 1_000 + 3 * 3600,
        "state": "ready",
        "mountpoint": "/mnt/models",
        "pid": 17,
        "read_only": False,
        "listen": "127.0.0.1:8970",
        "store": {"path": "/var/lib/blobfs"},
        "space": space(),
        "operations": {"read": 5, "errors": {}},
        "sealing": {"pending": 0, "sealed": 0},
        "loading": dict.fromkeys(
            ["loads", "in_flight", "completed", "bodies", "most_bodies", "waiting", "kept", "wasted",
             "hedged", "moved", "refused"], 0,
        ),
        "packages": {
            "transactions": dict.fromkeys(["open", "completed", "aborted", "expired"], 0),
            "bundles": dict.fromkeys(["bytes", "requests", "members"], 0),
        },
        "scrub": {"rate": 0},
        "tasks": 20,
        "threads": 3,
        "transfers": [],
        "failures": [],
        "shares": [],
    } | changes  # fmt: skip


def space(**changes: Any) -> dict[str, Any]:
    return {
        "used": 6 << 30,
        "quota": 10 << 30,
        "partition": 100 << 30,
        "free": 50 << 30,
        "reserve": 1 << 28,
        "evicted": 0,
        "evicted_bytes": 0,
        "passed_bytes": 0,
    } | changes


def transfer(name: str | None, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "blob",
        "key": "ab" * 32,
        "names": [] if name is None else [name],
        "size": 4 << 20,
        "present": 1 << 20,
        "rate": 1 << 19,
        "eta": 6.0,
        "readers": 1,
        "state": "loading",
        "shares": {"http://a:8001/": 600, "http://b:8001/x/": 400, "http://c/": 0},
        "started_ago": 2.0,
        "last_error": None,
    } | changes


def share(url: str, **changes: Any) -> dict[str, Any]:
    return {
        "url": url,
        "plain": False,
        "group": 1,
        "down": False,
        "circuit": "closed",
        "struck_for": None,
        "last_failure": None,
        "failed_ago": None,
        "latency_ms": 1.5,
        "bytes_per_second": 1 << 20,
        "requests": {"blob": 3},
        "failures": {},
        "received": 7 << 20,
        "in_flight": 1,
        "idle_connections": 1,
        "connections_opened": 2,
        "history": [],
    } | changes


def bucket(ago: float, received: int, failures: int = 0) -> dict[str, Any]:
    return {"ago": ago, "bytes": received, "requests": 1, "failures": failures}


REFUSED = {
    "share": "http://dead:1/",
    "phase": "blob",
    "detail": "connection refused",
    "kind": "connect-refused",
    "received": 0,
}


def dead_share(url: str = "http://dead:1/") -> dict[str, Any]:
    return share(
        url, circuit="open", down=True, failures={"connect-refused": 4}, last_failure=REFUSED, failed_ago=3.0
    )


def failure(what: str, **changes: Any) -> dict[str, Any]:
    return {
        "time": 1_000,
        "ago": 12.0,
        "operation": "read",
        "what": what,
        "errno": "EHOSTUNREACH",
        "message": "no share can be reached",
        "count": 1,
        "request": None,
        "attempts": [REFUSED],
    } | changes
