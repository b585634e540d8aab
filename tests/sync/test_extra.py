"""What it costs to ask twice: extra traffic is bounded. All in virtual time."""

from contextlib import suppress
from dataclasses import replace

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from blobfs import errors
from blobfs.model import CHUNK_SIZE
from blobfs.store.opening import Store
from blobfs.sync.loading.extra import ALLOWANCE, ExtraTraffic
from tests.sync.running import SETTINGS, content
from tests.sync.virtual import node, open_the_gate, read_all, stalling, within

MIB = 2**20


@given(st.floats(0, 1), st.lists(st.tuples(st.integers(0, MIB), st.integers(0, MIB)), max_size=30))
def test_extra_traffic_is_a_part_of_what_was_loaded(fraction: float, requests: list[tuple[int, int]]) -> None:
    """Asking twice is allowed exactly as long as what was thrown away is within its bound."""
    extra = ExtraTraffic(fraction)
    for kept, more in requests:
        extra.count(kept, kept + more)
    kept = sum(kept for kept, _ in requests)
    wasted = extra.statistics().wasted
    assert wasted == sum(more for _, more in requests)
    assert extra.may_hedge() == (wasted <= ALLOWANCE + fraction * kept)
    assert extra.statistics().refused == (wasted > ALLOWANCE + fraction * kept)


async def test_with_the_allowance_used_up_nothing_is_asked_twice(
    store: Store, autojump_clock: MockClock
) -> None:
    """With a fraction of 0 no further gain makes up for it: the reader waits for the one share."""
    one, two = stalling(1, blob="p"), stalling(2)
    settings = replace(SETTINGS, extra_traffic=0.0)
    async with node(store, one, two, settings=settings) as running, trio.open_nursery() as nursery:
        running.sync.loads.extra.count(0, ALLOWANCE + 1)
        nursery.start_soon(open_the_gate, one, 5.0)
        with within(5.0, least=5.0):
            await read_all(running)
        found = running.sync.loads.statistics()
        assert found["hedged"] == 0
        assert found["refused"] > 0
        assert two.asked == []


async def test_stalls_without_end_waste_no_more_than_their_bound(
    store: Store, autojump_clock: MockClock
) -> None:
    """Nearly a chunk is lost each time; when the allowance is used up, nothing more is."""
    raws = [content(9 * CHUNK_SIZE, seed=number) for number in range(40)]
    one, two = stalling(1, blob="m*"), stalling(2)
    one.short_after = CHUNK_SIZE - 1
    for raw in raws:
        one.add_blob(raw)
        two.add_blob(raw)
    settings = replace(SETTINGS, extra_traffic=0.0, read_timeout=5.0)
    async with node(store, one, two, settings=settings) as running:
        for raw in raws:
            running.peers[0].health.record_success(trio.current_time())  # it seems to be well again
            with suppress(errors.DeadlineExceeded):
                await read_all(running, raw)
            await trio.sleep(20)
        found = running.sync.loads.statistics()
        assert found["hedged"] == ALLOWANCE // one.short_after + 1
        assert ALLOWANCE < found["wasted"] <= ALLOWANCE + len(raws) * one.short_after
        assert found["refused"] > 0
