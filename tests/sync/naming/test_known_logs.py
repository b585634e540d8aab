"""The shares' logs that are kept: how many, how old, and what a share may take back."""

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from blobfs.model import ROOT, Kind, Name
from blobfs.record import DirRecord, GoneRecord, LogEntry
from blobfs.shares.exchange import ShareStatistics
from blobfs.shares.log_tail import LogReading
from blobfs.sync.naming import known_logs
from blobfs.sync.naming.known_logs import LOG_BYTES, NAME_BYTES, OLDER_BELIEVED, OLDER_PAUSE, KnownLogs
from blobfs.sync.naming.news import News
from blobfs.sync.peer import Peer
from tests.sync.fake_share import FakeShare
from tests.sync.running import SETTINGS


def logs_of(share: FakeShare, kept_bytes: int = known_logs.KEPT_BYTES) -> tuple[KnownLogs, Peer, News]:
    news = News()
    return KnownLogs(SETTINGS, news, kept_bytes), Peer(share), news


def fill(share: FakeShare, directory: str, count: int) -> None:
    share.rebuild_log(Name(directory), [LogEntry(f"n{number}", DirRecord(1, 1)) for number in range(count)])


async def test_what_is_kept_is_bounded_by_what_it_takes() -> None:
    """The log that was not used for longest goes, large or small; the one just read stays, however large."""
    share = FakeShare()
    for directory, count in (("a", 10), ("b", 10), ("c", 10), ("large", 1000)):
        fill(share, directory, count)
    each = LOG_BYTES + 10 * NAME_BYTES
    logs, peer, _ = logs_of(share, kept_bytes=2 * each)
    for directory in ("a", "b", "a", "c"):
        await logs.refresh(peer, Name(directory))
    assert logs.get(peer, Name("b")) is None
    assert logs.statistics() == {"logs": 2, "bytes": 2 * each}
    known = await logs.refresh(peer, Name("large"))
    assert known.names == 1000
    assert logs.statistics() == {"logs": 1, "bytes": LOG_BYTES + 1000 * NAME_BYTES}


async def test_who_waits_for_a_reading_takes_what_came_of_it() -> None:
    """Also when it failed: a directory of a share that is down is not asked for by one after the other."""
    share = FakeShare(log="gu*")
    fill(share, "", 3)
    logs, peer, _ = logs_of(share)
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(logs.refresh, peer, ROOT)
        await trio.testing.wait_all_tasks_blocked()
        share.gate.set()
    assert share.counts() == {"log": 1}
    share = FakeShare(log="u*")
    share.latency = 0.01
    logs, peer, _ = logs_of(share)
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(logs.refresh, peer, ROOT)
    assert share.counts() == {"log": 1}


async def test_an_older_copy_is_believed_after_a_while(mock_clock: MockClock) -> None:
    """Until then what is known stays, the reason is told, and the share is asked less often."""
    share = FakeShare()
    fill(share, "", 9)
    logs, peer, _ = logs_of(share)
    await logs.refresh(peer, ROOT)
    share.logs[ROOT] = share.logs[ROOT][:300]
    mock_clock.jump(SETTINGS.listing_ttl)
    known = await logs.refresh(peer, ROOT)
    assert known.names == 9
    assert known.failure is not None
    assert "older" in known.failure.detail
    asked = len(share.asked)
    mock_clock.jump(SETTINGS.listing_ttl)
    assert (await logs.refresh(peer, ROOT)).names == 9
    assert len(share.asked) == asked
    mock_clock.jump(OLDER_PAUSE)
    await logs.refresh(peer, ROOT)
    assert len(share.asked) > asked
    mock_clock.jump(OLDER_BELIEVED)
    known = await logs.refresh(peer, ROOT)
    assert (known.names < 9, known.failure, known.doubted) == (True, None, None)


class SlowShare(FakeShare):
    """Sends a log in pieces, one for each second."""

    async def log(self, directory: Name, reading: LogReading) -> bool:
        raw, offset = self.logs[directory], reading.resume_offset
        if offset is None:
            reading.begin_whole()
        else:
            reading.begin_tail()
        for start in range(offset or 0, len(raw), 500):
            await trio.sleep(1)
            assert reading.feed(raw[start : start + 500])
            self.received += 500
        return reading.finish()

    def statistics(self) -> ShareStatistics:
        return ShareStatistics({}, self.received, {}, 0, 0, 0)


async def test_a_log_that_takes_longer_is_read_in_several_goes(autojump_clock: MockClock) -> None:
    """What came is listed, no byte of it is asked for again, and the share is none the worse for it."""
    share = SlowShare()
    fill(share, "", 60)
    size = len(share.logs[ROOT])
    logs, peer, _ = logs_of(share)
    known = await logs.refresh(peer, ROOT)
    assert 0 < known.names < 60
    assert known.exists
    assert known.failure is not None
    assert (known.failure.kind, peer.is_up()) == (Kind.TOO_LATE, True)
    for _ in range(3):
        known = await logs.refresh(peer, ROOT)
    assert (known.names, known.failure) == (60, None)
    assert share.received < size + 4 * 600


async def test_what_hangs_is_told_from_what_is_slow(autojump_clock: MockClock) -> None:
    """P3: nothing at all within the bound is a failure of the share, which gets less time from then on."""
    share = FakeShare(log="h*")
    logs, peer, _ = logs_of(share)
    began = trio.current_time()
    await logs.refresh(peer, ROOT)
    assert trio.current_time() - began == pytest.approx(SETTINGS.lookup_timeout)
    assert not peer.is_up()
    began = trio.current_time()
    await logs.refresh(peer, ROOT)
    assert trio.current_time() - began < SETTINGS.lookup_timeout / 4


async def test_news(mock_clock: MockClock) -> None:
    """What a share says anew of names is told on, also what a new log does not list any more."""
    share = FakeShare()
    fill(share, "", 3)
    logs, peer, news = logs_of(share)
    await logs.refresh(peer, ROOT)
    share.put("n1", GoneRecord(2))
    mock_clock.jump(SETTINGS.listing_ttl)
    await logs.refresh(peer, ROOT)
    assert await news.wait() == {ROOT: {"n1"}}
    share.rebuild_log(ROOT, [LogEntry("n0", DirRecord(1, 1)), LogEntry("n9", DirRecord(1, 1))])
    mock_clock.jump(SETTINGS.listing_ttl)
    await logs.refresh(peer, ROOT)
    assert await news.wait() == {ROOT: {"n1", "n2", "n9"}}


async def test_most_of_what_was_not_known_is_no_news() -> None:
    """Nobody took it for something else. But what was removed is, and what comes from the future."""
    share = FakeShare()
    share.publish("a", b"a", 1)
    share.put("ahead", DirRecord(1, 2**62))
    share.put("gone", GoneRecord(1))
    logs, peer, news = logs_of(share)
    await logs.refresh(peer, ROOT)
    assert await news.wait() == {ROOT: {"ahead", "gone"}}
    assert news.ahead(Name("ahead")) == DirRecord(1, 2**62)


async def test_a_directory_that_is_gone_is_forgotten(mock_clock: MockClock) -> None:
    """And is there again when it is made again, with what is in it then."""
    share = FakeShare(log="oao")
    fill(share, "", 3)
    logs, peer, _ = logs_of(share)
    assert (await logs.refresh(peer, ROOT)).exists
    mock_clock.jump(SETTINGS.listing_ttl)
    known = await logs.refresh(peer, ROOT)
    assert (known.exists, known.names, known.failure) == (False, 0, None)
    mock_clock.jump(SETTINGS.listing_ttl)
    assert (await logs.refresh(peer, ROOT)).names == 3


async def test_how_long_it_counts_can_be_set(mock_clock: MockClock) -> None:
    """`listing_ttl`."""
    share = FakeShare()
    fill(share, "", 1)
    logs = KnownLogs(replace(SETTINGS, listing_ttl=30.0), News())
    peer = Peer(share)
    await logs.refresh(peer, ROOT)
    mock_clock.jump(29)
    await logs.refresh(peer, ROOT)
    assert share.counts() == {"log": 1}
    mock_clock.jump(1)
    await logs.refresh(peer, ROOT)
    assert share.counts() == {"log": 2}
