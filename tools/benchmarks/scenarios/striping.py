"""One blob from one, two and four shares that are slow: how the speeds add up.

A share is slow in two ways. nginx's limit_rate is per connection, so a node with several connections to
one share gets more from it already; the cap of the whole share (a tap) is what a thin line looks like.
curl through the same tap tells how exact that is.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests.servers.nginx import Nginx
from tools.benchmarks.measuring import SECONDS, Figures, Runs, alternate, median, ratio
from tools.benchmarks.report import Table, say
from tools.benchmarks.running import run
from tools.benchmarks.tap import Tap
from tools.benchmarks.workbench import CONTENT, MB, MIB, Workbench, counted, one_blob, served

RATE = 20 * MB
COUNTS = (1, 2, 4)
GOALS = {2: 1.8, 4: 3.4}
Slow = Callable[[Path, int], contextlib.AbstractContextManager[tuple[list[Nginx], list[str]]]]
"""So many slow servers of a share directory, and where to ask them."""


@contextlib.contextmanager
def limited(share: Path, count: int) -> Iterator[tuple[list[Nginx], list[str]]]:
    with served(share, count, f"limit_rate {RATE};") as servers:
        yield servers, [server.url for server in servers]


@contextlib.contextmanager
def capped(share: Path, count: int) -> Iterator[tuple[list[Nginx], list[str]]]:
    with served(share, count) as servers, ExitStack() as stack:
        taps = [stack.enter_context(Tap(server.port, rate=RATE)) for server in servers]
        yield servers, [tap.url for tap in taps]


def striping(bench: Workbench) -> None:
    size = bench.size(256 * MIB, 64 * MIB)
    say(f"{size // MIB} MiB, cold, cat; {bench.runs} turns")
    with bench.source(one_blob(size)) as share:
        for title, slow in {
            f"{RATE // MB} MB/s for each share as a whole": capped,
            f"{RATE // MB} MB/s for each connection (limit_rate)": limited,
        }.items():
            ways = {_shares(count): partial(_load, bench, share, slow, count) for count in COUNTS}
            ways["curl, one share"] = partial(_curl, share, slow)
            _show(title, size, alternate(bench.runs, ways))


def _shares(count: int) -> str:
    return f"blobfs, {count} share{'s' if count > 1 else ''}"


def _load(bench: Workbench, share: Path, slow: Slow, count: int) -> Figures:
    with slow(share, count) as (servers, urls), bench.node(urls) as node:
        seconds = run("cat", node.path(CONTENT), discard=True).seconds
        each = [counted(server) for server in servers]
        return {
            SECONDS: seconds,
            **counted(*servers),
            "most": max(figures["MB"] for figures in each),
            "least": min(figures["MB"] for figures in each),
        }


def _curl(share: Path, slow: Slow) -> Figures:
    with slow(share, 1) as ([server], [url]):
        seconds = run("curl", "-sS", "-o", "/dev/null", f"{url}{CONTENT}").seconds
        sent = counted(server)
        return {SECONDS: seconds, **sent, "most": sent["MB"], "least": sent["MB"]}


def _show(title: str, size: int, found: Runs) -> None:
    table = Table(title, "s", "MB/s", "faster than one", "requests", "MB sent", "most by one", "least by one")
    one = found[_shares(1)]
    for way, figures in found.items():
        counts = [median(figures, name) for name in ("requests", "MB", "most", "least")]
        table.add(way, median(figures), size / MB / median(figures), ratio(one, figures), *counts)
    say(table)
    goals = (f"{ratio(one, found[_shares(count)]):.2f} (goal {goal})" for count, goal in GOALS.items())
    say(f"two and four shares against one: {', '.join(goals)}\n")
