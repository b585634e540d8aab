"""Shares whose bundles fail at random, readers that come and go: what was promised holds all the same."""

import random
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from blobfs.model import CHUNK_SIZE
from blobfs.store.opening import Store
from tests.sync.bundles.bundled import PACKAGE, Running, Sample, bundle_share, bundling, sample
from tests.sync.running import SETTINGS

SEEDS = range(40)
LETTERS = "oooowsuhmpgdbra"
LONGEST = 400.0
"""Seconds of virtual time after which nothing is under way any more."""


async def read_some(node: Running, of: Sample, chance: random.Random) -> None:
    """A reader that goes on for a while, and may be gone at any time."""
    number = chance.randrange(len(of.members))
    with trio.move_on_after(chance.choice([0.0, 0.3, 5.0, 100.0])):
        for _ in range(chance.randrange(1, 40)):
            begin = trio.current_time()
            got = await node.read(of, number)
            assert got in (None, of.raws[number])
            assert trio.current_time() - begin <= SETTINGS.first_byte_timeout + 0.001
            number = (number + 1) % len(of.members)
            await trio.sleep(chance.choice([0.0, 0.0, 0.1]))


async def want_all(node: Running, of: Sample, chance: random.Random) -> None:
    """Somebody who wants much at once, to the end or until he is gone."""
    wanted = set(chance.sample(of.blobs, chance.randrange(1, len(of.blobs))))
    sizes = {member.blob: member.size for member in of.members}
    await trio.sleep(chance.choice([0.0, 0.1, 1.0]))
    with trio.move_on_after(chance.choice([0.2, 1000.0, 1000.0])):
        missing, blobs, length = await node.bring_all(of, wanted)
        came = wanted - missing
        assert {of.blobs[number] for number in node.kept(of)} >= came
        assert (blobs, length) == (len(came), sum(map(sizes.__getitem__, came)))


@pytest.mark.parametrize("seed", SEEDS)
async def test_whatever_shares_do(store: Store, autojump_clock: MockClock, seed: int) -> None:
    """P1, P3, P7: nothing wrong is given out or kept, all ends, every blob is told of once, and nothing is
    left of memory, leases or requests."""
    chance = random.Random(seed)
    of = sample([chance.randrange(1, CHUNK_SIZE + 1) for _ in range(chance.choice([3, 60, 150]))])
    shares = []
    for number in range(chance.randrange(1, 4)):
        script = "".join(chance.choices(LETTERS, k=12)) + chance.choice("oow*a")
        share = bundle_share(f"http://{number}/", of, chance.randrange(1, 3), script)
        share.short_after = chance.randrange(1000 * 1024)
        share.piece = chance.choice([1000, 65536, 10**6])
        share.latency = chance.choice([0.0, 0.05, 1.0])
        share.line.rate = chance.choice([10**5, 10**7, 10**9])
        if chance.random() < 0.2:
            share.bundles[PACKAGE] = of.bundle[: chance.randrange(len(of.bundle))]
        shares.append(share)
    settings = replace(SETTINGS, max_tries=chance.choice([1, 3]))
    async with bundling(store, *shares, settings=settings) as node:
        async with trio.open_nursery() as nursery:
            for _ in range(chance.randrange(1, 8)):
                nursery.start_soon(read_some, node, of, chance)
            for _ in range(chance.randrange(0, 3)):
                nursery.start_soon(want_all, node, of, chance)
            await trio.sleep(3)
            for share in shares:
                share.gate.set()
        await trio.sleep(LONGEST)
        found = node.bundles.statistics()
        assert (found.waiting, [share.in_flight for share in shares]) == (0, [0] * len(shares))
        assert sorted(node.told) == sorted(of.blobs[number] for number in node.kept(of))
        assert found.members == len(node.told)
        assert found.bytes <= sum(share.received for share in shares)
