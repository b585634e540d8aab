"""Nodes that load one blob at the same time fetch it from each other; the first one sends it once or twice.

The source is asked by three nodes that know it and each other. What is counted are bytes of bodies.
"""

import random
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from os import environ
from pathlib import Path

from tests.mount.conftest import StartNode
from tests.mount.node import BlobfsNode
from tests.servers.nginx import Nginx
from tests.structure import ROOT

MIB = 1 << 20
SIZE = 16 * MIB
SECONDS = 40


def content() -> bytes:
    return random.Random(7).randbytes(SIZE)


def start_fleet(stack: ExitStack, directory: Path, source: str, count: int = 3) -> list[BlobfsNode]:
    """Nodes that know the source, and each other."""
    fleet = [BlobfsNode(directory, f"n{number}", listen=True) for number in range(count)]
    for node in fleet:
        others = [other.url for other in fleet if other is not node]
        node.arguments = [f"--share={url}" for url in (source, *others)]
        stack.enter_context(node)
    return fleet


def at_once(fleet: Sequence[BlobfsNode], command: Sequence[str]) -> None:
    """Runs a program on each node's ``x``, all together."""
    running = [
        subprocess.Popen(
            [word.format(mount=node.mountpoint) for word in command],
            env={**environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
        )
        for node in fleet
    ]
    assert [each.wait(SECONDS) for each in running] == [0] * len(fleet)


def sent_by_source(fleet: Sequence[BlobfsNode]) -> int:
    """Bytes that the nodes got of the source, tree and records included."""
    return sum(node.status()["shares"][0]["received"] for node in fleet)


def test_nodes_that_load_at_once(start_node: StartNode, tmp_path: Path) -> None:
    """[S129] `blobfs load` of three nodes: all of it is right. What each has sent is in its status; who has
    it in part has no file of it."""
    source = start_node("source", listen=True)
    source.path("x").write_bytes(content())
    source.wait_until_sealed()
    with ExitStack() as stack:
        fleet = start_fleet(stack, tmp_path, source.url)
        at_once(fleet, [sys.executable, "-P", "-m", "blobfs", "load", "{mount}", "x"])
        assert {node.path("x").read_bytes() == content() for node in fleet} == {True}
        assert source.status()["served"]["bytes"] >= sent_by_source(fleet) >= SIZE
        assert not [path for node in fleet for path in node.share.rglob("parts")]


def test_nodes_with_a_slow_source_help_each_other(start_node: StartNode, tmp_path: Path) -> None:
    """The source is nginx, with a limit to each connection, and knows nothing of parts. Every byte that is
    read is right; the others send some of it."""
    writer = start_node("writer")
    writer.path("x").write_bytes(content())
    writer.wait_until_sealed()
    with Nginx(writer.share, "limit_rate 1m;") as nginx, ExitStack() as stack:
        fleet = start_fleet(stack, tmp_path, nginx.url)
        at_once(fleet, [sys.executable, "-P", "-m", "blobfs", "load", "{mount}", "x"])
        assert {node.path("x").read_bytes() == content() for node in fleet} == {True}
        assert sent_by_source(fleet) < 2.5 * SIZE
        assert sum(node.status()["served"]["bytes"] for node in fleet) > SIZE / 2
