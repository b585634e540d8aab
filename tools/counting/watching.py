"""Counting what one operation causes: the kernel's requests, the server's log, the daemon's clock."""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.mount.kernel_trace import fuse_requests
from tests.servers.nginx import Nginx
from tools.benchmarks.running import Failed, Overdue
from tools.counting.calling import Answer, Caller
from tools.counting.counted import Counted, SystemCalls
from tools.counting.operations import Operation
from tools.counting.strace import traced

AT_REST = 0.25
"""Seconds without `HARDLY_ANY` CPU time, after which what was caused is over."""
HARDLY_ANY = 0.002
"""Seconds: what an idle daemon may use meanwhile."""
LIMIT = 20.0


@dataclass(frozen=True, slots=True)
class Watched:
    """A mount that operations are done in, and what can be asked about it."""

    peer: str
    path: Path
    pid: int
    server: Nginx | None = None
    hops: Callable[[], int] | None = None


def cpu_seconds(pid: int) -> float:
    """User and system time so far, exact to the nanosecond, with that of what it has started."""
    children = [
        int(child)
        for file in Path(f"/proc/{pid}/task").glob("*/children")
        for child in file.read_text("ascii").split()
    ]
    clock = ~pid << 3 | 2  # the number that clock_getcpuclockid(3) gives: CPUCLOCK_SCHED of a process
    return time.clock_gettime(clock) + sum(map(cpu_seconds, children))


def wait_at_rest(pid: int) -> float:
    """Its CPU time, when nothing is going on in it any more."""
    limit = time.monotonic() + LIMIT
    used, since = cpu_seconds(pid), time.monotonic()
    while time.monotonic() < min(since + AT_REST, limit):
        time.sleep(0.02)
        now = cpu_seconds(pid)
        if now > used + HARDLY_ANY:
            used, since = now, time.monotonic()
    return cpu_seconds(pid)


def count(watched: Watched, caller: Caller, operation: Operation, calls: bool) -> Counted | None:
    """Does the operation and counts it; or counts its system calls. None: it is only done."""
    for verb, paths in operation.before:
        caller.call(verb, paths)
    if not operation.name:
        caller.call(operation.verb, operation.paths)
        return None
    wait_at_rest(watched.pid)
    try:
        return _count_calls(watched, caller, operation) if calls else _count(watched, caller, operation)
    except (Failed, Overdue) as failure:
        return _counted(watched, operation, failure=str(failure))


def _count(watched: Watched, caller: Caller, operation: Operation) -> Counted:
    times = len(operation.paths)
    with fuse_requests(watched.path) as seen:
        _warm(caller, operation)
        hops = watched.hops() if watched.hops else None
        if watched.server is not None:
            watched.server.forget_requests()
        cpu = cpu_seconds(watched.pid)
        seen.forget()
        answer = caller.call(operation.verb, operation.paths)
        cpu = wait_at_rest(watched.pid) - cpu
    asked = watched.server.requests() if watched.server is not None else None
    return _counted(
        watched,
        operation,
        answer,
        requests={opcode: number / times for opcode, number in sorted(seen.items())},
        http=None if asked is None else len(asked) / times,
        received=None if asked is None else sum(request.bytes_sent for request in asked) / times,
        hops=(watched.hops() - hops) / times if watched.hops and hops is not None else None,
        cpu=cpu / times * 1e6,
    )


def _warm(caller: Caller, operation: Operation) -> None:
    """Right before it counts: what the kernel may trust for a second only is to be trusted."""
    if operation.is_warm:
        caller.call(operation.verb, operation.paths)


def _count_calls(watched: Watched, caller: Caller, operation: Operation) -> Counted:
    _warm(caller, operation)
    with traced(watched.pid) as found:
        answer = caller.call(operation.verb, operation.paths)
        wait_at_rest(watched.pid)
    return _counted(watched, operation, answer, calls=found.per(len(operation.paths)))


def _counted(
    watched: Watched,
    operation: Operation,
    answer: Answer | None = None,
    *,
    requests: dict[str, float] | None = None,
    http: float | None = None,
    received: float | None = None,
    hops: float | None = None,
    cpu: float = 0.0,
    calls: SystemCalls | None = None,
    failure: str = "",
) -> Counted:
    return Counted(
        operation.name,
        operation.state,
        watched.peer,
        operation.delivered,
        requests or {},
        answer.sleeps / len(operation.paths) if answer else 0.0,
        http,
        received,
        hops,
        cpu,
        statistics.median(answer.seconds) * 1e6 if answer else 0.0,
        calls,
        failure,
    )


def describe_machine() -> str:
    return f"{os.cpu_count()} cores, Linux {os.uname().release}"
