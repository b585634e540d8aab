"""What is shown of loads that are under way: in virtual time, so that rates are what the lines give."""

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from blobfs import errors
from blobfs.config.settings import Fill
from blobfs.model import CHUNK_SIZE, Name
from blobfs.store.opening import Store
from blobfs.sync.flow import Flow
from blobfs.sync.packages.path_loading import PathLoading
from blobfs.sync.packages.progress import Progress
from blobfs.sync.transfers import State, Transfer, transfers
from tests.sync.fake_share import FakeShare, blob_of, record_of
from tests.sync.packages.made import Made, make
from tests.sync.running import SETTINGS, content
from tests.sync.samples import BLOB, RAW, chunk, shares
from tests.sync.virtual import Node, node, open_blob, read_all

MIB = 2**20
LARGE = content(24 * MIB, seed=24)
PACKAGE = make({"bin/big": content(3 * CHUNK_SIZE, 1)} | {f"d/{n:02}": content(9000, n) for n in range(40)})


def shown(running: Node) -> list[Transfer]:
    return transfers(running.sync, trio.current_time())


def line(number: int, raw: bytes, rate: float, **scripts: str) -> FakeShare:
    share = FakeShare(f"http://{number}/", **scripts)  # type: ignore[arg-type]
    share.add_blob(raw)
    share.line.rate = rate
    return share


async def test_a_load_with_its_rate_and_what_each_share_brought(
    store: Store, autojump_clock: MockClock
) -> None:
    """Two shares that send 3 MiB a second in all: 18 MiB are here after six seconds, and 2 s are left."""
    fast, slow = line(1, LARGE, 2 * MIB), line(2, LARGE, MIB)
    async with node(store, fast, slow, settings=replace(SETTINGS, extra_traffic=0)) as running:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_all, running, LARGE)
            await trio.sleep(6)
            (found,) = shown(running)
            past = running.peers[0].history.past(trio.current_time())
            nursery.cancel_scope.cancel()
        assert (found.kind, found.key, found.size, found.readers) == ("blob", blob_of(LARGE), len(LARGE), 1)
        assert found.state is State.LOADING
        assert found.rate == pytest.approx(3 * MIB, rel=0.25)
        assert found.present == pytest.approx(18 * MIB, rel=0.2)
        assert found.eta == pytest.approx((len(LARGE) - found.present) / (3 * MIB), rel=0.3)
        assert sum(found.shares.values()) == found.present
        assert found.shares["http://1/"] > found.shares["http://2/"] > 0
        assert trio.current_time() - found.began == pytest.approx(6, abs=0.1)
        assert sum(bucket.bytes for bucket in past) == found.shares["http://1/"]


async def test_names_are_those_it_is_shared_under(store: Store, autojump_clock: MockClock) -> None:
    """A load that was opened by a name has it."""
    async with node(store, line(1, RAW, MIB, blob="h*")) as running:
        reader = await running.sync.loads.open(BLOB, len(RAW), Name("d/<b>"), record_of(RAW))
        (found,) = shown(running)
        reader.close()
    assert found.names == ("d/<b>",)


async def test_a_failure_is_shown_until_something_comes(store: Store, autojump_clock: MockClock) -> None:
    """With the share and the reason; when the share is back, it is news of yesterday."""
    one, _ = shares(blob="u")
    async with node(store, one) as running:
        reader = await open_blob(running, RAW)
        with pytest.raises(errors.Unreachable):
            await reader.read(*chunk(0))
        (found,) = shown(running)
        assert (found.state, found.rate, found.eta) == (State.WAITING, None, None)
        assert found.last_error is not None
        assert "(http://one/: connection refused)" in found.last_error
        await trio.sleep(2)
        await reader.read(*chunk(0))
        (found,) = shown(running)
        assert found.last_error is None
        reader.close()


async def test_what_nobody_reads_fills(store: Store, autojump_clock: MockClock) -> None:
    """It is shown as such while the fill has it to do; where nothing is filled it is not on its way."""
    for fill, expected in ((Fill.IDLE, [State.FILLING]), (Fill.NEVER, [])):
        settings = replace(SETTINGS, fill=fill, fill_after=5.0)
        async with node(store, shares()[1], settings=settings) as running:
            reader = await open_blob(running, RAW)
            await reader.read(*chunk(0))
            reader.close()
            await trio.sleep(1)
            assert [transfer.state for transfer in shown(running)] == expected


async def test_what_is_whole_is_no_transfer(store: Store, autojump_clock: MockClock) -> None:
    """When the last chunk is here there is nothing left to show."""
    async with node(store, shares()[1]) as running:
        await read_all(running)
        assert shown(running) == []


def package_share(made: Made, rate: float) -> FakeShare:
    share = FakeShare("http://1/", bundle="aaaa")
    made.add_to(share)
    share.line.rate = rate
    return share


async def test_a_package_is_one_transfer(store: Store, autojump_clock: MockClock) -> None:
    """With all its bytes, from wherever; its large files stand beside it, by their names in it."""
    async with node(store, package_share(PACKAGE, CHUNK_SIZE)) as running:
        progress = Progress()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                PathLoading(running.sync).load, f".blobfs/packages/{PACKAGE.package}", progress
            )
            await trio.sleep(3)
            package, blob = (each for each in shown(running) if each.kind == "package" or each.names)
            nursery.cancel_scope.cancel()
        assert (package.kind, blob.names) == ("package", ("bin/big",))
        assert (package.key, package.readers, package.part_of) == (PACKAGE.package, 1, None)
        assert package.size == len(PACKAGE.meta) + sum(map(len, PACKAGE.blobs.values()))
        assert blob.part_of == PACKAGE.package
        assert package.shares["http://1/"] >= sum(blob.shares.values()) > 0
        assert package.rate == pytest.approx(CHUNK_SIZE, rel=0.5)


async def test_a_load_that_fails_is_told(store: Store, autojump_clock: MockClock) -> None:
    """What `blobfs load` could not bring is among the failures, under the path that was asked for."""
    async with node(store, FakeShare(record="u*", log="u*", size="u*")) as running:
        with pytest.raises(errors.Unreachable):
            await PathLoading(running.sync).load("d/f", Progress())
        (told,) = running.sync.told.latest()
    assert (told.operation, told.what) == ("load", "d/f")
    assert {attempt.share for attempt in told.attempts} == {"http://one/"}


async def test_a_batch_costs_one_addition(
    store: Store, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is counted for the status is counted by batches of chunks, and not for each."""
    calls: list[int] = []
    came = Flow.came

    def counted(self: Flow, share: str, length: int, now: float) -> None:
        calls.append(length)
        came(self, share, length, now)

    monkeypatch.setattr(Flow, "came", counted)
    async with node(store, line(1, LARGE, 512 * MIB)) as running:
        await read_all(running, LARGE)
    assert sum(calls) == len(LARGE)
    assert len(calls) < len(LARGE) // CHUNK_SIZE // 2
