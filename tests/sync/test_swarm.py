"""Nodes that load one blob at the same time: what leaves the source, and what a node that lies costs."""

import math
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from blobfs.chunks import full_bits
from blobfs.config.settings import LoadSettings
from blobfs.model import CHUNK_SIZE
from blobfs.shares.choice import Urgency
from blobfs.sync.loading.reader import LoadReader
from blobfs.sync.loading.swarm import MOST_LIES
from tests.sync.fake_share import FakeShare, blob_of
from tests.sync.live_share import LiveShare, fleet
from tests.sync.running import content
from tests.sync.virtual import Node, open_blob, read_on

MIB = 2**20
SIZE = 48 * MIB
LARGE = content(SIZE, seed=48)
BLOB = blob_of(LARGE)
RATE = 8 * MIB
COUNT = 5
SETTINGS = LoadSettings(max_tries=1)


def source() -> FakeShare:
    """Static, as nginx is."""
    made = FakeShare("http://source/")
    made.add_blob(LARGE)
    made.line.rate = RATE
    return made


def live_shares(count: int = COUNT) -> list[LiveShare]:
    made = [LiveShare(f"http://node-{number}/") for number in range(count)]
    for share in made:
        share.line.rate = RATE
    return made


async def bring_whole(node: Node) -> None:
    """As `blobfs load` does."""
    reader = await open_blob(node, LARGE)
    if isinstance(reader, LoadReader):
        await reader.load.bring(0, SIZE, Urgency.READER, math.inf)
    assert await reader.read(0, SIZE) == LARGE
    reader.close()


async def read_in_order(node: Node) -> None:
    """As `cat` does."""
    reader = await open_blob(node, LARGE)
    assert await read_on(reader, MIB) == LARGE
    reader.close()


async def all_at_once(nodes: list[Node], work: Callable[[Node], Awaitable[None]]) -> None:
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for node in nodes:
                nursery.start_soon(work, node)


@pytest.mark.parametrize(("work", "copies"), [(bring_whole, 2.0), (read_in_order, 3.0)])
async def test_what_leaves_the_source(
    tmp_path: Path, autojump_clock: MockClock, work: Callable[[Node], Awaitable[None]], copies: float
) -> None:
    """Five nodes at once: not five copies. Whole blobs two at most, sequential readers three. Every chunk
    comes to each node once, but for what had to be asked for again."""
    one, shares = source(), live_shares()
    async with fleet(tmp_path, one, *shares, settings=SETTINGS) as nodes:
        await all_at_once(nodes, work)
        assert one.received < copies * SIZE
        assert one.received + sum(share.received for share in shares) < 1.1 * COUNT * SIZE
        assert one.counts()["parts"] <= COUNT  # as long as it has not answered anything it may be a live node


async def test_a_node_that_claims_what_it_has_not(tmp_path: Path, autojump_clock: MockClock) -> None:
    """It is believed three times, and costs no more than the questions; the rest comes from elsewhere."""
    one, liar = source(), FakeShare("http://liar/")
    liar.present = {BLOB: full_bits(SIZE)[:-1] + b"\0"}
    [share] = live_shares(1)
    async with fleet(tmp_path, one, share, settings=SETTINGS) as [node]:
        node.sync.peers.append(type(node.peers[0])(liar))
        await bring_whole(node)
        assert one.received >= SIZE
        assert liar.counts()["blob"] <= MOST_LIES * 2 * SETTINGS.spans_per_share


async def test_wrong_bytes_of_a_part(tmp_path: Path, autojump_clock: MockClock) -> None:
    """P1, P5: they are thrown away, and who sent them is asked for nothing more."""
    one, liar = source(), FakeShare("http://liar/", blob="w*")
    liar.add_blob(LARGE)
    liar.present = {BLOB: full_bits(SIZE)[:-1] + b"\0"}
    [share] = live_shares(1)
    async with fleet(tmp_path, one, share, settings=SETTINGS) as [node]:
        peer = type(node.peers[0])(liar)
        node.sync.peers.append(peer)
        await bring_whole(node)
        assert peer.is_struck
        assert liar.counts()["blob"] <= 2 * SETTINGS.spans_per_share


async def test_a_node_that_stalls_in_a_part(tmp_path: Path, autojump_clock: MockClock) -> None:
    """P5: what it owes is asked of the source."""
    one, staller = source(), FakeShare("http://staller/", blob="m*")
    staller.add_blob(LARGE)
    staller.present = {BLOB: full_bits(SIZE)[:-1] + b"\0"}
    staller.short_after = CHUNK_SIZE
    [share] = live_shares(1)
    async with fleet(tmp_path, one, share, settings=SETTINGS) as [node]:
        node.sync.peers.append(type(node.peers[0])(staller))
        begin = trio.current_time()
        await bring_whole(node)
        assert trio.current_time() - begin < 3 * SIZE / RATE


async def test_static_shares_are_asked_for_no_parts(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Two of them, one of which has the blob: what is asked is what was asked before there were parts."""
    one, two = source(), FakeShare("http://two/")
    [share] = live_shares(1)
    async with fleet(tmp_path, one, share, settings=SETTINGS) as [node]:
        node.sync.peers.append(type(node.peers[0])(two))
        await bring_whole(node)
    asked = Counter(each.phase for each in (*one.asked, *two.asked))
    assert asked.keys() == {"blob", "tree"}
    assert two.counts()["blob"] <= 2 * SETTINGS.spans_per_share
