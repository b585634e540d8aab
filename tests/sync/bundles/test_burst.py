"""What is shown of a bundle that is being fetched: what was asked for since it was quiet, and what came."""

import trio
from trio.testing import MockClock

from blobfs.store.opening import Store
from tests.sync.bundles.bundled import KIB, MANY, PACKAGE, bundle_share, bundling

RATE = 1024 * KIB


async def test_a_bundle_on_its_way(store: Store, autojump_clock: MockClock) -> None:
    """All members are wanted, those that came are here, from the share that sent them; then it is over."""
    share = bundle_share("http://one/")
    share.line.rate = RATE
    async with bundling(store, share) as node:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node.bring_all, MANY)
            await trio.sleep(4)
            (bundle,) = node.bundles.active()
            assert (bundle.package, bundle.readers, bundle.has_runners) == (PACKAGE, 1, True)
            assert bundle.burst.wanted <= len(MANY.bundle)
            assert 3 * RATE <= bundle.burst.arrived <= 4 * RATE
            assert bundle.flow.from_shares == {"http://one/": bundle.burst.arrived}
            assert node.flow.from_shares == bundle.flow.from_shares
        assert bundle.burst.wanted == bundle.burst.arrived == len(MANY.bundle)
        assert (node.bundles.active(), bundle.readers) == ([], 0)


async def test_what_does_not_come_is_not_wanted_any_more(store: Store, autojump_clock: MockClock) -> None:
    """A share that has no bundle leaves nothing behind, and what comes later is counted from nothing."""
    share = bundle_share("http://one/", bundle="u")
    async with bundling(store, share) as node:
        assert await node.read(MANY, 0) is None
        (bundle,) = node.bundles._bundles.values()
        assert (bundle.burst.wanted, bundle.burst.arrived) == (0, 0)
        await trio.sleep(60)
        assert await node.read(MANY, 0) is not None
        await node.settled()
        assert bundle.burst.wanted == bundle.burst.arrived > 0
