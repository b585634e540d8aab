"""Shares and limits that change while the node runs: nobody's read fails, and no half of it is ever seen."""

from collections.abc import Iterable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from blobfs import errors
from blobfs.config.settings import LoadSettings, ShareSetting, SpaceSettings
from blobfs.model import Kind, Name
from blobfs.shares.address import ShareOptions
from blobfs.shares.client import Share
from blobfs.shares.retry_rules import failed_attempt
from blobfs.store.opening import Store
from blobfs.sync.changing import NewShares, close_shares, make_share, prepare_shares, take_over
from blobfs.sync.naming.answers import Absent, Present
from blobfs.sync.peer import Peer, ShareLike
from blobfs.sync.service import SyncService
from tests.sync.fake_share import FakeShare
from tests.sync.running import SETTINGS, content, open_named, running, until

RAW = content(300_000)
NO_LIMIT = SpaceSettings()
ONE, TWO, THREE = "http://one/", "http://two/", "http://three/"


class Opened(FakeShare):
    """Says whether it is open, or why it cannot be."""

    is_open = False
    refusal: Exception | None = None

    async def __aenter__(self) -> "Opened":
        if self.refusal is not None:
            raise self.refusal
        self.is_open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self.is_open = False  # what is under way goes on


async def prepared(
    peers: Iterable[Peer], urls: Iterable[str | ShareSetting], made: Iterable[FakeShare] = ()
) -> NewShares:
    """`made` are the shares that are found at their URLs when they are made."""
    at = {share.options.url: share for share in made}

    def make(options: ShareOptions, before: ShareLike | None) -> ShareLike:
        share = at[options.url]
        share.options = options
        return share

    settings = [url if isinstance(url, ShareSetting) else ShareSetting(url) for url in urls]
    return await prepare_shares(list(peers), settings, LIMITS, make)


LIMITS = LoadSettings(connect_timeout=2.0)
"""Those that a `FakeShare` is made with."""


def changed(sync: SyncService, new: NewShares, settings: LoadSettings = SETTINGS) -> list[ShareLike]:
    return take_over(sync, new, settings, NO_LIMIT)


# Which shares there are


async def test_what_is_unchanged_is_left_alone() -> None:
    """The same URL and settings: the same share, with its health and its connections."""
    peer = Peer(share := FakeShare(ONE))
    new = await prepared([peer], [ONE])
    assert (list(new.peers), new.anew, list(new.gone)) == ([peer], {}, [])
    assert peer.share is share
    assert new.changes([peer]) == []


async def test_added_changed_removed_moved() -> None:
    """Each is told by the share's URL, without credentials."""
    one, two = Peer(FakeShare(ONE)), Peer(FakeShare("http://u:p@two/"))
    new = await prepared(
        [one, two], [THREE, ShareSetting("http://u:new@two/", group=2)],
        [Opened(THREE), Opened("http://u:new@two/")],
    )  # fmt: skip
    assert [peer.shown for peer in new.peers] == [THREE, "http://u:p@two/"]
    assert new.peers[1] is two
    assert list(new.gone) == [one]
    assert new.changes([one, two]) == [
        f"share {THREE}: added", "share http://u:p@two/: changed", f"share {ONE}: removed",
    ]  # fmt: skip
    moved = await prepared([one, two], ["http://u:p@two/", ONE])
    assert moved.changes([one, two]) == ["share: order"]


async def test_new_limits_are_no_other_share() -> None:
    """A share with another time limit is made anew; how it did stays with it."""
    peer = Peer(FakeShare(ONE))
    peer.record_failure(failed_attempt(ONE, "blob", Kind.CONNECT_REFUSED, "refused"))
    health = peer.health

    def make(options: ShareOptions, before: ShareLike | None) -> ShareLike:
        return Opened(ONE)

    new = await prepare_shares([peer], [ShareSetting(ONE)], LoadSettings(connect_timeout=9.0), make)
    assert list(new.anew) == [peer]
    assert new.changes([peer]) == []
    assert peer.health is health


async def test_nothing_is_left_open_by_what_is_refused() -> None:
    """One share that cannot be had: the others are closed, and what was there is as it was."""
    peer = Peer(FakeShare(ONE))
    good, bad = Opened(TWO), Opened(THREE)
    bad.refusal = errors.StartRefused("no such file")
    with pytest.raises(errors.StartRefused, match="no such file"):
        await prepared([peer], [ONE, TWO, THREE], [good, bad])
    assert not good.is_open
    with pytest.raises(errors.StartRefused, match="starts with http"):
        await prepared([peer], ["ftp://one/"])
    new = await prepared([peer], [TWO], [good])
    assert good.is_open
    await new.aclose()
    assert not good.is_open


async def test_a_share_that_is_made_anew_counts_on() -> None:
    """Its figures do not go backwards."""
    before = make_share(ShareOptions(ONE), None)
    after = make_share(ShareOptions(ONE, group=2), before)
    assert isinstance(before, Share)
    before._exchange.counters.received += 5
    assert after.statistics().received == 5


# Readers


async def test_a_read_goes_on_with_a_share_that_is_added(store: Store) -> None:
    """A reader waits for a share that hangs; one that is added and has it is asked in its stead."""
    hanging, added = FakeShare(ONE, blob="h*"), Opened(TWO)
    record = hanging.publish("f", RAW)
    added.publish("f", RAW)
    async with running(store, hanging) as sync, trio.open_nursery() as nursery:
        reader = await open_named(sync, "f", record)
        read: list[bytes] = []

        async def read_all() -> None:
            read.append(bytes(await reader.read(0, len(RAW))))

        nursery.start_soon(read_all)
        await hanging.waiting.wait()
        changed(sync, await prepared(sync.peers, [ONE, TWO], [added]))
        await until(lambda: bool(read))
        assert read == [RAW]
        reader.close()


async def test_what_a_removed_share_is_bringing_it_may_bring(store: Store) -> None:
    """Its last request ends well; the next one goes elsewhere."""
    gone, other = FakeShare(ONE, blob="g*"), Opened(TWO)
    record = gone.publish("f", RAW)
    other.publish("f", RAW)
    async with running(store, gone) as sync, trio.open_nursery() as nursery:
        reader = await open_named(sync, "f", record)
        read: list[bytes] = []

        async def read_part() -> None:
            read.append(bytes(await reader.read(0, 1000)))

        nursery.start_soon(read_part)
        await gone.waiting.wait()
        changed(sync, await prepared(sync.peers, [TWO], [other]))
        gone.gate.set()
        await until(lambda: bool(read))
        assert read == [RAW[:1000]]
        assert await reader.read(0, len(RAW)) == RAW
        reader.close()


async def test_without_shares_a_read_fails_in_words(store: Store) -> None:
    """The last share is removed: what is not here cannot be reached."""
    gone = FakeShare(ONE)
    record = gone.publish("f", RAW)
    async with running(store, gone) as sync:
        changed(sync, await prepared(sync.peers, []))
        reader = await open_named(sync, "f", record)
        with pytest.raises(errors.Unreachable):
            await reader.read(0, 10)
        reader.close()


async def test_a_refusal_and_wrong_bytes_are_forgiven(store: Store) -> None:
    """A share that refused a blob, or sent wrong bytes, is asked again at once."""
    share = FakeShare(ONE, blob="rw")
    record = share.publish("f", RAW)
    settings = LoadSettings(max_tries=1, read_ahead=0)
    async with running(store, share, settings=settings) as sync:
        reader = await open_named(sync, "f", record)
        for error in (errors.RefusedEverywhere, errors.WrongEverywhere):
            with pytest.raises(error):
                await reader.read(0, len(RAW))
            changed(sync, await prepared(sync.peers, [ONE]), settings)
        assert await reader.read(0, len(RAW)) == RAW
        assert sync.peers[0].struck_for is None
        reader.close()


# Names


async def test_a_lookup_under_way_is_answered_by_whom_it_asked(store: Store) -> None:
    """All shares are replaced while they are asked: that is no reason to say that there is no such name."""
    old, new = FakeShare(ONE, record="g"), Opened(TWO)
    old.publish("f", RAW)
    async with running(store, old) as sync, trio.open_nursery() as nursery:
        answers: list[object] = []

        async def look() -> None:
            answers.append(await sync.catalogue.lookup(Name("f")))

        nursery.start_soon(look)
        await old.waiting.wait()
        changed(sync, await prepared(sync.peers, [TWO], [new]))
        old.gate.set()
        await wait_all_tasks_blocked()
        assert isinstance(answers[0], Present)


async def test_what_nobody_had_a_new_share_may_have(store: Store) -> None:
    """That a name is absent is not believed any longer when there are other shares."""
    one, two = FakeShare(ONE), Opened(TWO)
    two.publish("f", RAW)
    settings = LoadSettings(negative_ttl=1000.0)
    async with running(store, one, settings=settings) as sync:
        assert isinstance(await sync.catalogue.lookup(Name("f")), Absent)
        changed(sync, await prepared(sync.peers, [ONE, TWO], [two]), settings)
        assert isinstance(await sync.catalogue.lookup(Name("f")), Present)


# Limits


async def test_limits_hold_at_once_for_what_is_under_way(store: Store) -> None:
    """Everybody looks at the same ones; what was copied follows."""
    share = FakeShare(ONE, blob="h*")
    record = share.publish("f", RAW)
    async with running(store, share) as sync:
        reader = await open_named(sync, "f", record)
        load = sync.loads.load_of(record.blob)
        assert load is not None
        settings = LoadSettings(
            read_timeout=3.0, bodies=3, extra_traffic=0.5, max_tries=7, abandoned_after=60.0, fill_after=9.0
        )
        closing = take_over(
            sync, await prepared(sync.peers, [ONE]), settings, SpaceSettings(quota=10**9, reserve=5)
        )
        assert closing == []
        assert sync.settings == settings
        assert sync.settings is not settings
        assert load.settings is sync.settings
        assert load.max_tries == 7
        assert sync.loads.extra.fraction == 0.5
        assert sync.space.statistics()["quota"] == 10**9
        assert sync.space.statistics()["reserve"] == 5
        await until(lambda: sync.space.statistics()["used"] is not None)  # measured, though it never was
        reader.close()
        await close_shares(closing)
