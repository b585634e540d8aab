"""Eight machines want one file that a ninth has, at once: how much must leave the ninth.

Every node serves its share and knows those of all the others. Bytes that left the first one are those that
the others say they received from it, by whatever phase. Beside it, for scale, as many curls from nginx:
without each other's help every byte leaves the server eight times.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tests.mount.node import BlobfsNode
from tools.benchmarks.node import MeasuredNode
from tools.benchmarks.running import Word, run
from tools.benchmarks.workbench import CONTENT, MIB, counted, served, sha256, write_noise
from tools.comparing.comparison import Comparison, Noted, Way, WrongBytes
from tools.comparing.results import Result
from tools.counting.watching import cpu_seconds

NAME = "swarm"
NODES, QUICK_NODES = 8, 3
LIMIT = 180.0
"""Seconds for the last of them."""
LEFT, LAST = "left the first node", "until the last has it"

Command = Callable[[MeasuredNode], list[Word]]
"""What brings the file to a node, whole."""


def swarm(comparison: Comparison) -> list[Result]:
    size, count = comparison.size(256 * MIB, 32 * MIB), comparison.size(NODES, QUICK_NODES)
    noted = Noted(NAME)
    with comparison.bench.place() as place, MeasuredNode(place, "first", listen=True) as first:
        write_noise(first.mountpoint / CONTENT, size)
        first.wait_until_sealed()
        digest = sha256(first.share / CONTENT)
        ways: dict[Way, Callable[[], float]] = {}
        for how, command in (("cat", _cat), ("blobfs load", _load)):
            ways[f"{how}: {LAST}", "blobfs"] = partial(
                _swarm, comparison, first, (size, digest), count, how, command, noted
            )
        ways[f"cat: {LAST}", "curl from nginx"] = partial(_curls, comparison, first, size, count, noted)
        return [*comparison.alternate(NAME, ways), *noted.results()]


def _cat(node: MeasuredNode) -> list[Word]:
    return ["cat", node.mountpoint / CONTENT]


def _load(node: MeasuredNode) -> list[Word]:
    return [sys.executable, "-P", "-m", "blobfs", "load", node.mountpoint, CONTENT]


def _swarm(
    comparison: Comparison,
    first: MeasuredNode,
    content: tuple[int, str],
    count: int,
    how: str,
    command: Command,
    noted: Noted,
) -> float:
    """All of them begin at once; when the last command has ended."""
    size, digest = content
    first.prolong()
    cpu = cpu_seconds(first.pid)
    with _knowing_each_other(comparison, first, count) as nodes:
        seconds = _all_at_once([command(node) for node in nodes])
        received = sum(_received(node, first.url) for node in nodes)
        noted.note(f"{how}: {LEFT}", "blobfs", received / size, "copies")
        used = cpu_seconds(first.pid) - cpu + sum(cpu_seconds(node.pid) for node in nodes)
        noted.note(f"{how}: all nodes together", "blobfs", used, "s of CPU")
        for node in nodes:
            if sha256(node.mountpoint / CONTENT) != digest:
                raise WrongBytes(f"at {node.name}")
    return seconds


@contextlib.contextmanager
def _knowing_each_other(
    comparison: Comparison, first: MeasuredNode, count: int
) -> Iterator[list[MeasuredNode]]:
    with comparison.bench.place() as place, contextlib.ExitStack() as stack:
        nodes = [MeasuredNode(place, f"node{number}", listen=True) for number in range(count)]
        for node in nodes:
            others = [first, *(other for other in nodes if other is not node)]
            node.arguments += [f"--share={other.url}" for other in others]
        for node in nodes:
            stack.enter_context(node)
        yield nodes


def _received(node: BlobfsNode, url: str) -> int:
    (share,) = [share for share in node.status()["shares"] if share["url"].rstrip("/") == url.rstrip("/")]
    return int(share["received"])


def _all_at_once(commands: Sequence[list[Word]]) -> float:
    """Seconds until the last of them has ended."""
    began = time.perf_counter()
    with ThreadPoolExecutor(len(commands)) as threads:
        for ended in [threads.submit(run, *command, limit=LIMIT, discard=True) for command in commands]:
            ended.result()
    return time.perf_counter() - began


def _curls(comparison: Comparison, first: MeasuredNode, size: int, count: int, noted: Noted) -> float:
    """Each writes its copy down, as a node does; none of them is verified."""
    with comparison.bench.place() as place, served(first.share) as [server]:
        commands: list[list[Word]] = [
            ["curl", "-sS", "--fail", "-o", place / str(number), f"{server.url}{CONTENT}"]
            for number in range(count)
        ]
        seconds = _all_at_once(commands)
        noted.note(f"cat: {LEFT}", "curl from nginx", counted(server)["MB"] * 1e6 / size, "copies")
    return seconds
