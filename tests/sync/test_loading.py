"""load_blob: where it looks, how long it tries, and what is here when it is done."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from blobfs import errors
from blobfs.config.settings import LoadSettings, LoadTerms, ShareSetting
from blobfs.model import EMPTY_BLOB, Name
from blobfs.record import BlobRecord, DirRecord, GoneRecord, SymlinkRecord
from blobfs.shares.address import ShareOptions
from blobfs.store.opening import Store
from blobfs.sync import known_shares
from blobfs.sync.load_blob import LoadedBlob
from blobfs.sync.loading.loads import USUAL_TERMS
from blobfs.sync.service import SyncService
from tests.sync.fake_share import FakeShare
from tests.sync.running import IDLE, SETTINGS, ScriptedDisk, content, is_kept, kept, running, until
from tests.sync.samples import RAW

NAME = "models/a.gguf"
ONE, TWO = "http://one/", "http://two/"
TICK = 0.02
"""Seconds of trio's clock."""


class CountedShare(FakeShare):
    """Also counts how often it is opened and closed."""

    entered = exited = 0

    async def __aenter__(self) -> "CountedShare":
        self.entered += 1
        await trio.lowlevel.checkpoint()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.exited += 1
        await super().__aexit__(kind, error, trace)


def published(url: str = ONE, raw: bytes = RAW, **scripts: Any) -> tuple[CountedShare, BlobRecord]:
    share = CountedShare(url, **scripts)
    return share, share.publish(NAME, raw)


def known(*urls: str) -> LoadTerms:
    return LoadTerms(known_shares=tuple(ShareSetting(url) for url in urls))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeShare]:
    """The fake shares that a call may open, by URL; the test puts them here."""
    shares: dict[str, FakeShare] = {}

    def make(options: ShareOptions) -> FakeShare:
        return shares[options.url]

    monkeypatch.setattr(known_shares.KnownShares.__init__, "__defaults__", (make,))
    return shares


def assert_loaded(store: Store, loaded: LoadedBlob, record: BlobRecord, raw: bytes = RAW) -> None:
    """It is in the share, under its id and its name."""
    assert loaded == LoadedBlob(Name(NAME), record.blob, record.size, store.layout.named(Name(NAME)))
    assert is_kept(store, record.blob, raw)
    assert loaded.path.read_bytes() == raw


async def meaning(sync: SyncService, name: str = NAME) -> object:
    entry = await sync.namespace.entry(Name(name))
    return entry.record if entry is not None else None


async def ticking(
    clock: MockClock,
    call: Callable[[str, LoadTerms], Awaitable[LoadedBlob]],
    name: str,
    terms: LoadTerms = USUAL_TERMS,
) -> LoadedBlob:
    """Calls what pauses on its way. The clock goes slowly: threads, which no clock knows of, must keep up."""
    ended: list[LoadedBlob | errors.BlobfsError] = []

    async def work() -> None:
        try:
            ended.append(await call(name, terms))
        except errors.BlobfsError as error:
            ended.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        await until(lambda: bool(ended), lambda: clock.jump(TICK))
    if isinstance(ended[0], errors.BlobfsError):
        raise ended[0]
    return ended[0]


@pytest.mark.parametrize("raw", [b"", b"small", RAW], ids=["empty", "small", "many chunks"])
async def test_a_blob_is_loaded_whole_and_shared_in_turn(store: Store, raw: bytes) -> None:
    """When the call is done it is in the share with its name and its record, and is served from there."""
    share, record = published(raw=raw)
    async with running(store, share) as sync:
        loaded = await sync.load_blob(NAME)
        assert_loaded(store, loaded, record, raw)
        assert await meaning(sync) == record
        asked = share.counts()
        assert await sync.load_blob(NAME) == loaded
        assert (share.counts() - asked).keys() <= {"log"}  # that is read behind its back, as for the mount
    assert (record.blob == EMPTY_BLOB) == (raw == b"")


async def test_what_is_here_needs_no_network(store: Store) -> None:
    """P6: shared or loaded before, after a restart, while every share hangs, with a deadline that is past."""
    share, record = published()
    async with running(store, share) as sync:
        await sync.load_blob(NAME)
        own = await sync.share_blob("own", b"own")
    down = FakeShare(ONE, record="h*", log="h*", blob="h*", tree="h*")
    async with running(store, down) as sync:
        assert_loaded(store, await sync.load_blob(NAME, LoadTerms(deadline=0)), record)
        assert (await sync.load_blob("own")).blob == own.blob
        assert_loaded(store, await sync.load_blob(NAME, known(TWO)), record)  # would fail if it were opened
        assert down.counts()["record"] == down.counts()["blob"] == 0


async def test_many_calls_are_one_download(store: Store) -> None:
    """P7: callers of one name, and readers of its blob, share a load."""
    share, record = published()
    loaded: list[LoadedBlob] = []

    async def load() -> None:
        loaded.append(await sync.load_blob(NAME))

    async with running(store, share) as sync:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(load)
        assert share.received <= len(RAW) * 1.01
    assert loaded == [loaded[0]] * 10
    assert_loaded(store, loaded[0], record)


async def test_another_share_has_it(store: Store) -> None:
    """A share that fails halfway costs nothing but its bytes."""
    one, record = published(ONE, blob="u*")
    two, _ = published(TWO)
    async with running(store, one, two) as sync:
        assert_loaded(store, await sync.load_blob(NAME), record)


async def test_a_second_name_of_a_blob_that_is_here(store: Store) -> None:
    """Nothing is loaded; the name is shared in turn."""
    share, record = published()
    async with running(store, share) as sync:
        await sync.share_blob("own", RAW)
        assert_loaded(store, await sync.load_blob(NAME), record)
        assert share.counts()["blob"] == 0
        assert await meaning(sync) == record


async def test_its_publisher_replaced_it(store: Store, mock_clock: MockClock) -> None:
    """A name means here what it means at the mount: the newer blob, as soon as the newer record is known."""
    share, old = published()
    async with running(store, share) as sync:
        await sync.load_blob(NAME)
        new = share.publish(NAME, b"new", old.published_ns + 1)
        mock_clock.jump(SETTINGS.listing_ttl)
        assert (await sync.load_blob(NAME)).blob == old.blob
        await until(lambda: share.counts()["log"] > 0)
        await wait_all_tasks_blocked()
        assert_loaded(store, await sync.load_blob(NAME), new, b"new")


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("a", errors.AbsentEverywhere),
        ("u", errors.Unreachable),
        ("b", errors.BusyEverywhere),
        ("r", errors.RefusedEverywhere),
    ],
)
@pytest.mark.parametrize("phase", ["record", "blob"])
async def test_no_share_gives_it(
    store: Store, mock_clock: MockClock, phase: str, script: str, error: type[errors.LoadFailed]
) -> None:
    """Each failure has its error, and tells of every attempt."""
    share, _ = published(ONE, RAW, **{phase: f"{script}*"})
    if script == "a" and phase == "record":
        share.records.clear()
        share.logs.clear()
    async with running(store, share) as sync:
        with pytest.raises(error) as raised:
            await ticking(mock_clock, sync.load_blob, NAME)
        assert type(raised.value) is error
        assert await meaning(sync) is None
    if error is not errors.AbsentEverywhere:
        assert {attempt.phase for attempt in raised.value.attempts} == {phase}


async def test_wrong_bytes_are_never_shared(store: Store, mock_clock: MockClock) -> None:
    """P1: WrongEverywhere, and nothing of it in the share."""
    share, record = published(blob="w*")
    async with running(store, share) as sync:
        with pytest.raises(errors.WrongEverywhere):
            await ticking(mock_clock, sync.load_blob, NAME)
        assert not store.layout.blob(record.blob).exists()
        assert await meaning(sync) is None


@pytest.mark.parametrize("phase", ["record", "blob"])
async def test_as_many_tries_as_the_call_names(store: Store, mock_clock: MockClock, phase: str) -> None:
    """A share that is down for a moment: the node's one try is not enough, the call's four are."""
    share, record = published(ONE, b"small", **{phase: "uu"})
    async with running(store, share) as sync:
        with pytest.raises(errors.Unreachable):
            await ticking(mock_clock, sync.load_blob, NAME)
    share, record = published(ONE, b"small", **{phase: "uuu"})
    async with running(store, share) as sync:
        loaded = await ticking(mock_clock, sync.load_blob, NAME, LoadTerms(max_tries=4, retry_timeout=0.2))
        assert_loaded(store, loaded, record, b"small")
        assert share.counts()[phase] == 4


async def test_no_more_tries_than_the_call_names(store: Store, mock_clock: MockClock) -> None:
    """The node's three tries are one here."""
    share = FakeShare(record="u*")
    async with running(store, share, settings=replace(SETTINGS, max_tries=3)) as sync:
        with pytest.raises(errors.Unreachable):
            await ticking(mock_clock, sync.load_blob, NAME, LoadTerms(max_tries=1))
        assert share.counts()["record"] == 1


@pytest.mark.parametrize("phase", ["record", "tree", "blob"])
async def test_the_deadline_covers_everything(store: Store, mock_clock: MockClock, phase: str) -> None:
    """Whatever it waits for: DeadlineExceeded, at the deadline and not before, with the attempts."""
    share, _ = published(ONE, RAW, **{phase: "h*"})
    settings = replace(SETTINGS, lookup_timeout=50, read_timeout=50)
    failed: list[errors.DeadlineExceeded] = []

    async def load() -> None:
        try:
            await sync.load_blob(NAME, LoadTerms(deadline=7))
        except errors.DeadlineExceeded as late:
            failed.append(late)

    async with running(store, share, settings=settings) as sync, trio.open_nursery() as nursery:
        nursery.start_soon(load)
        await until(share.waiting.is_set)
        mock_clock.jump(6.9)
        await wait_all_tasks_blocked()
        assert not failed
        mock_clock.jump(0.2)
        await until(lambda: bool(failed))
    assert {attempt.share for attempt in failed[0].attempts} == {ONE}


async def test_a_deadline_that_came_before_the_call(store: Store) -> None:
    """Nobody is asked for what is not here."""
    share, _ = published()
    async with running(store, share) as sync:
        with pytest.raises(errors.DeadlineExceeded):
            await sync.load_blob(NAME, LoadTerms(deadline=trio.current_time() - 1))
        assert share.asked == []


async def test_a_deadline_beyond_the_bound_of_a_read(store: Store, mock_clock: MockClock) -> None:
    """What the call names counts: a share that is silent for longer than a read may be is waited for."""
    share, record = published(blob="g*")
    loaded: list[LoadedBlob] = []

    async def load() -> None:
        loaded.append(await sync.load_blob(NAME, LoadTerms(deadline=500)))

    async with (
        running(store, share, settings=replace(SETTINGS, read_timeout=5)) as sync,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(load)
        for _ in range(60):
            await until(share.waiting.is_set)
            await wait_all_tasks_blocked(IDLE)
            mock_clock.jump(1)
        share.gate.set()
        await until(lambda: bool(loaded), sync.sealer.hurry)
    assert_loaded(store, loaded[0], record)


async def test_a_disk_that_does_not_keep_it(store: Store, mock_clock: MockClock) -> None:
    """StoreFull, without waiting until there is room; then the blob is kept without being loaded again."""
    share, record = published()
    disk = ScriptedDisk()
    async with running(store, share, disk=disk) as sync:
        disk.failing["place_partial"] = errors.StoreFull("no space left")
        with pytest.raises(errors.StoreFull):
            await sync.load_blob(NAME)
        disk.failing.clear()
        asked = share.counts()["blob"]
        mock_clock.jump(60)
        await until(lambda: sync.loads.statistics()["loads"] == 0, lambda: mock_clock.jump(1))
        assert_loaded(store, await sync.load_blob(NAME), record)
        assert share.counts()["blob"] == asked


@pytest.mark.parametrize(
    ("record", "error"),
    [(DirRecord(1, 1), errors.IsADirectory), (SymlinkRecord("other", 1, 1), errors.NotSupported)],
)
async def test_what_is_no_blob(
    store: Store, record: DirRecord | SymlinkRecord, error: type[errors.BlobfsError]
) -> None:
    """On a share or here; and what is no name is refused before anybody is asked."""
    share = FakeShare()
    share.put("thing", record)
    async with running(store, share) as sync:
        with pytest.raises(error):
            await sync.load_blob("thing")
        await sync.share_blob("d/own", b"own")
        with pytest.raises(errors.IsADirectory):
            await sync.load_blob("d")
        asked = len(share.asked)
        for name in "", "a//b", "..", ".blobfs/blobs/x", f".blobfs/blobs/{EMPTY_BLOB}":
            with pytest.raises(errors.InvalidName):
                await sync.load_blob(name)
        assert len(share.asked) == asked


async def test_a_name_that_was_removed_here(store: Store) -> None:
    """It is gone although a share still has it, also for a call that names that share."""
    share, record = published()
    async with running(store, share) as sync:
        await sync.load_blob(NAME)
        async with sync.namespace.lock:
            gone = GoneRecord(sync.namespace.next_published(record))
            await sync.namespace.put(Name(NAME), gone)
        for terms in LoadTerms(), known(ONE):
            with pytest.raises(errors.AbsentEverywhere):
                await sync.load_blob(NAME, terms)


# Shares that the call names


async def test_known_shares_are_asked_instead_of_the_nodes(
    store: Store, opened: dict[str, FakeShare]
) -> None:
    """Opened for the call and closed after it; the node's own are left alone."""
    own = FakeShare("http://own/")
    two, record = published(TWO)
    opened[TWO] = two
    async with running(store, own) as sync:
        assert_loaded(store, await sync.load_blob(NAME, known(TWO)), record)
        assert (two.entered, two.exited) == (1, 1)
        assert own.asked == []


async def test_a_known_share_that_the_node_has_is_used_as_it_is(
    store: Store, opened: dict[str, FakeShare]
) -> None:
    """However its URL is spelt; it is not opened again, and no other one is asked."""
    one, record = published(ONE)
    other, _ = published("http://other/")
    async with running(store, other, one) as sync:
        assert_loaded(store, await sync.load_blob(NAME, known("HTTP://One", ONE)), record)
        assert other.asked == []
        assert one.entered == 0
        assert sync.peers[1].health.statistics().successes > 0


async def test_calls_at_a_time_use_a_known_share_together(store: Store, opened: dict[str, FakeShare]) -> None:
    """It is opened once, and closed when the last one is done."""
    two = CountedShare(TWO, blob="gg")
    opened[TWO] = two
    first, second = (two.publish(name, content(1000, seed)) for seed, name in enumerate(("a", "b")))
    async with running(store) as sync, trio.open_nursery() as nursery:
        for name in "a", "b":
            nursery.start_soon(sync.load_blob, name, known(TWO))
        await until(lambda: two.counts()["blob"] == 2)
        assert (two.entered, two.exited) == (1, 0)
        two.gate.set()
    assert (two.entered, two.exited) == (1, 1)
    assert is_kept(store, first.blob, content(1000, 0))
    assert is_kept(store, second.blob, content(1000, 1))


@pytest.mark.parametrize("url", ["nonsense", "ftp://x/", "http://", "http://x/?q", "http://x:0/"])
async def test_a_url_that_is_none(store: Store, url: str) -> None:
    """InvalidArgument; nothing was opened."""
    async with running(store) as sync:
        with pytest.raises(errors.InvalidArgument):
            await sync.load_blob(NAME, known(url))


async def test_no_known_shares_is_a_look_at_what_is_here(store: Store) -> None:
    """Nobody is asked: absent, unless it is here."""
    share, _ = published()
    async with running(store, share) as sync:
        with pytest.raises(errors.AbsentEverywhere):
            await sync.load_blob(NAME, known())
        assert share.asked == []


async def test_a_plain_share(store: Store, opened: dict[str, FakeShare]) -> None:
    """Its file is loaded, gets its id here, and is shared in turn with a record."""
    plain = FakeShare(TWO, plain=True)
    plain.put_file(NAME, RAW)
    opened[TWO] = plain
    async with running(store) as sync:
        terms = LoadTerms(known_shares=(ShareSetting(TWO, plain=True),))
        loaded = await sync.load_blob(NAME, terms)
        record = await meaning(sync)
        assert isinstance(record, BlobRecord)
        assert_loaded(store, loaded, record)


# Cancellation


@asynccontextmanager
async def stopped(
    sync: SyncService, terms: LoadTerms, is_there: Callable[[], bool]
) -> AsyncIterator[trio.CancelScope]:
    """A call that is under way and has come to where it stops."""
    scope = trio.CancelScope()

    async def load() -> None:
        with scope:
            await sync.load_blob(NAME, terms)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(load)
        await until(is_there)
        yield scope
        scope.cancel()


@pytest.mark.parametrize("phase", ["record", "tree", "blob"])
async def test_cancelled_while_a_share_is_asked(
    store: Store, opened: dict[str, FakeShare], mock_clock: MockClock, phase: str
) -> None:
    """The call ends; the share it opened is open as long as its load; the next call goes on from there."""
    two, record = published(TWO, RAW, **{phase: "g"})
    opened[TWO] = two
    async with running(store) as sync:
        async with stopped(sync, known(TWO), two.waiting.is_set) as scope:
            scope.cancel()
            await wait_all_tasks_blocked()
            assert scope.cancelled_caught
            assert (two.entered, two.exited) == (1, 1 if phase == "record" else 0)
        two.gate.set()
        assert_loaded(store, await sync.load_blob(NAME, known(TWO)), record)
        await until(lambda: two.exited == two.entered, lambda: mock_clock.jump(1))


async def test_the_end_of_the_service_closes_what_is_left(store: Store, opened: dict[str, FakeShare]) -> None:
    """A load that its call has left ends with the service, and its share with it."""
    two, _ = published(TWO, blob="h*")
    opened[TWO] = two
    async with running(store) as sync:
        async with stopped(sync, known(TWO), two.waiting.is_set) as scope:
            scope.cancel()
        assert (two.entered, two.exited) == (1, 0)
    assert (two.entered, two.exited) == (1, 1)


async def test_cancelled_while_it_is_kept(store: Store) -> None:
    """What is whole is kept all the same."""
    share, record = published()
    disk = ScriptedDisk()
    resume = disk.pausing["place_partial"] = trio.Event()
    async with running(store, share, disk=disk) as sync:
        async with stopped(sync, LoadTerms(), disk.paused.is_set) as scope:
            scope.cancel()
        resume.set()
        await kept(sync)
        assert_loaded(store, await sync.load_blob(NAME), record)


async def test_one_of_two_callers_is_cancelled(store: Store) -> None:
    """The other one gets the blob; it is loaded once."""
    share, record = published(blob="g")
    loaded: list[LoadedBlob] = []

    async def load() -> None:
        loaded.append(await sync.load_blob(NAME))

    async with running(store, share) as sync, trio.open_nursery() as nursery:
        nursery.start_soon(load)
        async with stopped(sync, LoadTerms(), share.waiting.is_set) as scope:
            scope.cancel()
        share.gate.set()
        await until(lambda: bool(loaded))
    assert_loaded(store, loaded[0], record)


def test_terms_have_at_least_one_try() -> None:
    """A call that would never ask is refused where it is made."""
    with pytest.raises(ValueError, match="from 1 on"):
        LoadTerms(max_tries=0)
    assert LoadSettings().max_tries >= 1
