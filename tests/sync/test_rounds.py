"""Rounds over the shares: how often, with what pauses, and who says so. All in virtual time."""

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from blobfs import errors
from blobfs.config.settings import LoadTerms
from blobfs.store.opening import Store
from blobfs.sync.loading.reader import Reader
from tests.sync.fake_share import FakeShare
from tests.sync.running import SETTINGS
from tests.sync.samples import BLOB, RAW, chunk, part
from tests.sync.virtual import Node, node, open_blob


@pytest.fixture(autouse=True)
def longest_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The jitter makes a pause anything up to this."""
    monkeypatch.setattr("blobfs.sync.loading.span.random.random", lambda: 1.0)


def two(script: str) -> tuple[FakeShare, FakeShare]:
    made = FakeShare("http://1/", blob=script), FakeShare("http://2/", blob=script)
    for share in made:
        share.add_blob(RAW)
    return made


def requests(*shares: FakeShare) -> list[int]:
    return [share.counts()["blob"] for share in shares]


async def fail(reader: Reader) -> float:
    """Seconds until the read failed."""
    begin = trio.current_time()
    with pytest.raises(errors.LoadFailed):
        await reader.read(*chunk(0))
    return trio.current_time() - begin


async def open_with(running: Node, terms: LoadTerms) -> Reader:
    return await running.sync.loads.open(BLOB, len(RAW), None, None, terms)


@pytest.mark.parametrize(("tries", "seconds"), [(1, 0.0), (2, 0.3), (3, 0.9), (5, 4.5)])
async def test_so_many_rounds_with_pauses_in_between(
    store: Store, autojump_clock: MockClock, tries: int, seconds: float
) -> None:
    """Every share once in each round; the pauses double, and there is none after the last round."""
    shares = two("u*")
    settings = replace(SETTINGS, max_tries=tries, retry_timeout=0.3)
    async with node(store, *shares, settings=settings) as running:
        reader = await open_blob(running, RAW)
        assert await fail(reader) == pytest.approx(seconds)
        assert requests(*shares) == [tries, tries]
        reader.close()


async def test_no_pause_where_another_share_is_left(store: Store, autojump_clock: MockClock) -> None:
    """Within a round the next one is asked at once."""
    one, other = two("")
    one = FakeShare("http://1/", blob="u*")
    settings = replace(SETTINGS, max_tries=3)
    async with node(store, one, other, settings=settings) as running:
        reader = await open_blob(running, RAW)
        begin = trio.current_time()
        assert await reader.read(*chunk(0)) == part(0)
        assert trio.current_time() == begin
        reader.close()


async def test_a_share_that_is_back_in_the_next_round_gives_the_bytes(
    store: Store, autojump_clock: MockClock
) -> None:
    """That is what the rounds are for."""
    shares = two("uuo")
    async with node(store, *shares, settings=replace(SETTINGS, max_tries=3)) as running:
        reader = await open_blob(running, RAW)
        assert await reader.read(*chunk(0)) == part(0)
        assert trio.current_time() == pytest.approx(0.9)
        reader.close()


@pytest.mark.parametrize(("asked_for", "seconds"), [(2.0, 2.0), (0.1, 0.3)])
async def test_what_the_share_asked_for_is_the_least_pause(
    store: Store, autojump_clock: MockClock, asked_for: float, seconds: float
) -> None:
    """Retry-After is a floor of the pause; of several shares the one that may be asked soonest counts."""
    shares = two("bo")
    shares[0].retry_after, shares[1].retry_after = asked_for, 25.0
    async with node(store, *shares, settings=replace(SETTINGS, max_tries=2)) as running:
        reader = await open_blob(running, RAW)
        assert await reader.read(*chunk(0)) == part(0)
        assert trio.current_time() == pytest.approx(seconds)
        reader.close()


async def test_a_pause_that_would_end_after_the_deadline_is_not_begun(
    store: Store, autojump_clock: MockClock
) -> None:
    """The reader is told at once what he would be told in a minute."""
    shares = two("b*")
    for share in shares:
        share.retry_after = 3600.0
    async with node(store, *shares, settings=replace(SETTINGS, max_tries=9)) as running:
        reader = await open_blob(running, RAW)
        assert await fail(reader) == 0.0
        assert requests(*shares) == [1, 1]
        reader.close()


async def test_no_more_tries_than_the_terms_allow(store: Store, autojump_clock: MockClock) -> None:
    """Who opens it alone gets what he asks for, less than the node's too; the next one is not bound by it."""
    shares = two("u*")
    async with node(store, *shares, settings=replace(SETTINGS, max_tries=3)) as running:
        reader = await open_with(running, LoadTerms(max_tries=1))
        assert await fail(reader) == 0.0
        assert requests(*shares) == [1, 1]
        reader.close()
        await trio.sleep(1)
        reader = await open_blob(running, RAW)
        assert await fail(reader) == pytest.approx(0.9)
        assert requests(*shares) == [4, 4]
        reader.close()


async def test_the_pauses_are_those_of_the_terms(store: Store, autojump_clock: MockClock) -> None:
    """Shorter or longer than the node's."""
    shares = two("u*")
    async with node(store, *shares, settings=replace(SETTINGS, max_tries=2)) as running:
        for retry_timeout in 0.1, 4.0:
            reader = await open_with(running, LoadTerms(retry_timeout=retry_timeout))
            assert await fail(reader) == pytest.approx(retry_timeout)
            reader.close()
            await trio.sleep(1)


async def test_who_comes_later_adds_what_he_is_ready_to_try(store: Store, autojump_clock: MockClock) -> None:
    """Also to a request that is under way, which he waits for: it goes on, for both."""
    (share, _) = two("uuo")
    share.latency = 1.0
    got: list[bytes] = []
    async with node(store, share) as running, trio.open_nursery() as nursery:

        async def read(after: float, terms: LoadTerms) -> None:
            await trio.sleep(after)
            reader = await open_with(running, terms)
            got.append(bytes(await reader.read(*chunk(0))))
            reader.close()

        nursery.start_soon(read, 0.0, LoadTerms(max_tries=1))
        nursery.start_soon(read, 0.5, LoadTerms(max_tries=3))
    assert got == [part(0)] * 2
    assert requests(share) == [3]


async def test_a_round_that_cannot_help_is_not_begun(store: Store, autojump_clock: MockClock) -> None:
    """What every share said of the blob, every share will say again."""
    shares = two("ar")
    async with node(store, *shares, settings=replace(SETTINGS, max_tries=9)) as running:
        reader = await open_blob(running, RAW)
        assert await fail(reader) == 0.0
        assert requests(*shares) == [1, 1]
        reader.close()
