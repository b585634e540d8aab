"""What a share did is remembered as long as it means something: for good, for seconds, or not at all."""

from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from blobfs import errors
from blobfs.model import Kind
from blobfs.shares.health import Circuit
from blobfs.shares.retry_rules import RULES, Again, failed_attempt
from blobfs.store.opening import Store, open_store
from blobfs.sync.loading.verdicts import BELIEVED_FOR, Verdicts
from blobfs.sync.peer import Peer
from tests.sync.fake_share import FakeShare, blob_of
from tests.sync.running import SETTINGS, content, copy_of
from tests.sync.samples import CHUNKS, RAW, SMALL, chunk, part, shares
from tests.sync.virtual import Node, node, open_blob

DAY = 86_400.0


async def read(running: Node, raw: bytes) -> None:
    reader = await open_blob(running, raw)
    assert await reader.read(0, len(raw)) == raw
    reader.close()


# One load's memory


@pytest.mark.parametrize("kind", Kind)
async def test_each_kind_is_remembered_as_its_rule_says(autojump_clock: MockClock, kind: Kind) -> None:
    """Other bytes for good, what may be put right for five seconds, what may pass not at all."""
    peer, other = Peer(FakeShare("http://1/")), Peer(FakeShare("http://2/"))
    verdicts = Verdicts()
    attempt = failed_attempt(peer.shown, "blob", kind, "words")
    verdicts.note(peer, attempt)
    if RULES[kind].ask_again is not Again.NEVER:
        assert verdicts.without([peer, other]) == (peer, other)
        assert verdicts.attempts() == []
        return
    assert verdicts.attempts() == [attempt]
    await trio.sleep(BELIEVED_FOR - 0.01)
    assert verdicts.without([peer, other]) == (other,)
    await trio.sleep(0.02)
    passes = kind not in (Kind.WRONG_BYTES, Kind.CHANGED)
    assert verdicts.without([peer, other]) == ((peer, other) if passes else (other,))
    assert verdicts.attempts() == ([] if passes else [attempt])


async def test_the_last_word_counts(autojump_clock: MockClock) -> None:
    """Absent again is absent for five seconds more."""
    peer = Peer(FakeShare())
    verdicts = Verdicts()
    for _ in range(3):
        verdicts.note(peer, failed_attempt(peer.shown, "blob", Kind.ABSENT, "HTTP 404"))
        await trio.sleep(BELIEVED_FOR - 1)
        assert verdicts.without([peer]) == ()


async def test_a_404_is_not_asked_for_again_for_a_while(store: Store, autojump_clock: MockClock) -> None:
    """Of that blob: not for five seconds, then again. For others the share is as good as before."""
    one, two = shares()
    del one.blobs[blob_of(RAW)]
    async with node(store, one, two) as running:
        running.peers[0].estimates.answered(0.0)  # as near as the other one
        reader = await open_blob(running, RAW)
        for number in range(3):
            assert await reader.read(*chunk(number)) == part(number)
        assert one.counts()["blob"] == 1
        assert running.peers[0].health.circuit(trio.current_time()) is Circuit.CLOSED
        await read(running, SMALL)
        assert [each.what for each in one.asked if each.phase == "blob"][1:] == [blob_of(SMALL)]
        await trio.sleep(BELIEVED_FOR)
        one.add_blob(RAW)
        assert await reader.read(*chunk(9)) == part(9)
        assert one.ranges()[-1] == chunk(9)
        reader.close()


async def test_absent_everywhere_may_be_there_a_moment_later(store: Store, autojump_clock: MockClock) -> None:
    """Also for a reader who keeps the file open: a share gets blobs."""
    one, _ = shares()
    del one.blobs[blob_of(RAW)]
    async with node(store, one) as running:
        reader = await open_blob(running, RAW)
        with pytest.raises(errors.AbsentEverywhere):
            await reader.read(*chunk(0))
        one.add_blob(RAW)
        await trio.sleep(BELIEVED_FOR)
        assert await reader.read(*chunk(0)) == part(0)
        reader.close()


# A share's record


async def test_wrong_bytes_are_held_against_a_share_for_good(store: Store, autojump_clock: MockClock) -> None:
    """P1, P5: a day later it is still asked only for what nobody else has; its circuit is closed."""
    one, two = shares(blob="w")
    lonely = content(1000, seed=7)
    one.add_blob(lonely)
    async with node(store, one, two) as running:
        await read(running, RAW)
        await trio.sleep(DAY)
        assert running.peers[0].is_struck
        assert running.peers[0].health.circuit(trio.current_time()) is Circuit.CLOSED
        await read(running, SMALL)
        assert one.counts()["blob"] == 1
        await read(running, lonely)
        assert one.counts()["blob"] == 2
    async with node(store, one, two) as restarted:
        assert not restarted.peers[0].is_struck


@pytest.mark.parametrize("letter", ["u", "s", "h", "b"])
async def test_a_failure_on_the_way_is_held_against_a_share_for_a_moment(
    store: Store, autojump_clock: MockClock, letter: str
) -> None:
    """P5: then what nobody waits for finds out whether it is back, and it takes its part again."""
    one, two = shares(blob=letter)
    raws = [content(9 * 131_072, seed=seed) for seed in range(4)]
    for raw in raws:
        one.add_blob(raw)
        two.add_blob(raw)
    async with node(store, one, two) as running:
        await read(running, RAW)
        assert not running.peers[0].is_struck
        assert running.peers[0].health.circuit(trio.current_time()) is Circuit.OPEN
        await read(running, raws[0])
        assert one.counts()["blob"] == 1
        await trio.sleep(60)
        assert running.peers[0].health.circuit(trio.current_time()) is Circuit.HALF_OPEN
        await read(running, raws[1])  # a reader is not made to try it
        assert one.counts()["blob"] == 1
        load = await open_blob(running, raws[2])
        await load.read(0, 10)
        running.sync.loads.load_of(blob_of(raws[2])).ahead(0, len(raws[2]))  # type: ignore[union-attr]
        await trio.sleep(1)
        assert one.counts()["blob"] == 2
        assert running.peers[0].health.circuit(trio.current_time()) is Circuit.CLOSED
        load.close()


async def test_a_share_that_fails_in_two_ways_at_once_has_failed(
    store: Store, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Tree and bytes are asked for together, and go down together: one failure, and nothing unexpected."""
    one, two = shares(blob="u*")
    one._scripts["tree"] = "u*"
    one.latency = 0.1
    async with node(store, one, two) as running:
        await read(running, RAW)
    assert "unexpected" not in caplog.text


# After an unclean end


async def test_what_is_here_after_all_is_asked_of_nobody(
    store: Store, tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """P6: no read waits for a share, and one that was not asked is not taken for one that answers."""
    good, _ = shares()
    async with node(store, good) as running:
        reader = await open_blob(running, RAW)
        await reader.read(*chunk(0, CHUNKS - 1))
        await running.sync.loads.save_maps()
        copied = copy_of(store.layout.root, tmp_path / "crashed")
        reader.close()
    opened = open_store(copied)
    busy = FakeShare("http://busy/", concurrent=1, blob="h*")
    busy.add_blob(SMALL)
    busy.add_blob(RAW)
    async with node(opened, busy, settings=replace(SETTINGS, bodies=1)) as running:
        async with trio.open_nursery() as nursery:
            other = await open_blob(running, SMALL)
            nursery.start_soon(other.read, 0, 10)
            await busy.waiting.wait()
            running.peers[0].record_failure(failed_attempt(busy.shown, "blob", Kind.RESET, "reset"))
            reader = await open_blob(running, RAW)
            assert await reader.read(*chunk(3)) == part(3)
            await trio.testing.wait_all_tasks_blocked()
            assert running.sync.loads.statistics()["waiting"] == 0
            assert running.peers[0].health.circuit(trio.current_time()) is Circuit.OPEN
            nursery.cancel_scope.cancel()
        for each in other, reader:
            each.close()
    opened.close(clean=False)
    assert not [record for record in caplog.records if "chunks" in record.getMessage()]
