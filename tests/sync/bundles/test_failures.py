"""Bundles that lie, break off, hang or are not there: nothing wrong is kept, and nobody waits long."""

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from blobfs.model import Kind
from blobfs.shares.estimates import FIRST_PATIENCE
from blobfs.shares.retry_rules import failed_attempt
from blobfs.store.opening import Store
from blobfs.sync.bundles.load import BELIEVED_FOR
from blobfs.sync.bundles.windows import LARGEST
from blobfs.sync.loading.relief import LOOK_AGAIN
from tests.sync.bundles.bundled import (
    FEW,
    KIB,
    MANY,
    PACKAGE,
    SETTLED,
    bundle_share,
    bundling,
    complaints,
)
from tests.sync.fake_share import FakeShare
from tests.sync.running import SETTINGS
from tests.sync.virtual import within

PERSISTENT = replace(SETTINGS, max_tries=3)
EVERYTHING = list(range(len(MANY.members)))


async def test_a_share_that_lies_is_struck_and_another_ones_bundle_is_asked(
    store: Store, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """P1: what stands in front of the wrong member is right and stays, the rest of the answer is thrown away;
    that share is not asked for this bundle again, and others first for everything."""
    one, two = bundle_share("http://one/", bundle="w*"), bundle_share("http://two/", group=2)
    async with bundling(store, one, two) as node:
        for number in range(8):
            assert await node.read(MANY, number) == MANY.raws[number]
        await node.settled()
        assert (one.ranges("bundle"), two.ranges("bundle")) == ([MANY.range_of(0, 8)], [MANY.range_of(4, 8)])
        assert await node.bring_all(MANY) == (set(), 320, len(MANY.bundle))
        assert (one.counts()["bundle"], node.kept(MANY)) == (1, EVERYTHING)
        assert [peer.is_struck for peer in node.peers] == [True, False]
    offset = MANY.members[4].offset
    assert list(complaints(caplog)) == [
        f"http://one/ sent wrong bytes of a bundle of {PACKAGE}: what stands at {offset} is not"
        f" {MANY.blobs[4]}; from now on others are asked first"
    ]


async def test_when_only_a_liar_has_it_nothing_wrong_is_given_out(
    store: Store, autojump_clock: MockClock
) -> None:
    """P1: a reader of the wrong member is told that no bundle helps; what is right around it is kept."""
    one = bundle_share("http://one/", bundle="w*")
    async with bundling(store, one) as node:
        assert await node.bring(MANY, 4) is None
        assert await node.bring(MANY, 3) in (None, MANY.raws[3])
        assert await node.bring(MANY, 100) is None
        await node.settled()
        assert node.kept(MANY) == [0, 1, 2, 3]
        assert one.counts() == {"bundle": 1}
        assert node.bundles.statistics().fallbacks >= 2


async def test_a_bundle_of_something_else_gives_nothing(store: Store, autojump_clock: MockClock) -> None:
    """Another order of the same blobs, say."""
    one = bundle_share("http://one/")
    one.bundles[PACKAGE] = b"".join(reversed(FEW.raws))
    async with bundling(store, one) as node:
        assert await node.bring_all(FEW) == (set(FEW.blobs), 0, 0)
        assert node.kept(FEW) == []


async def test_a_share_without_the_bundle_costs_one_request(store: Store, autojump_clock: MockClock) -> None:
    """It is believed for a minute, of this package, however often it is read; then it is asked again."""
    one = FakeShare("http://one/")
    async with bundling(store, one) as node:
        for number in range(50):
            assert await node.bring(MANY, number) is None
        assert await node.bring_all(MANY) == (set(MANY.blobs), 0, 0)
        assert one.counts() == {"bundle": 1}
        assert node.peers[0].is_up()
        one.bundles[PACKAGE] = MANY.bundle
        await trio.sleep(BELIEVED_FOR - 1)
        assert await node.bring(MANY, 0) is None
        await trio.sleep(1)
        assert await node.bring(MANY, 0) == MANY.raws[0]
        assert one.counts() == {"bundle": 2}


async def test_who_has_no_bundle_leaves_it_to_who_has(store: Store, autojump_clock: MockClock) -> None:
    """Of three shares two say so, once each; the third one is asked from then on."""
    shares = FakeShare("http://one/"), FakeShare("http://two/"), bundle_share("http://three/", group=2)
    async with bundling(store, *shares) as node:
        for number, raw in enumerate(MANY.raws):
            assert await node.read(MANY, number) == raw
            if number % 8 == 7:  # not each time: it would be longer than what they said is believed
                await node.settled()
        assert [share.counts()["bundle"] for share in shares] == [1, 1, 6]


async def test_plain_shares_have_no_bundles(store: Store, autojump_clock: MockClock) -> None:
    """They are never asked."""
    one = FakeShare("http://one/", plain=True)
    async with bundling(store, one) as node:
        assert await node.bring(MANY, 0) is None
        assert await node.bring_all(MANY) == (set(MANY.blobs), 0, 0)
        assert one.asked == []


async def test_a_bundle_that_ends_early(store: Store, autojump_clock: MockClock) -> None:
    """What it has is used; where it ends, another share's is, and it is not asked again for a while."""
    one, two = bundle_share("http://one/"), bundle_share("http://two/", group=2)
    one.bundles[PACKAGE] = MANY.bundle[: 100 * KIB]
    async with bundling(store, one, two) as node:
        assert await node.bring(MANY, 0) == MANY.raws[0]
        assert await node.bring(MANY, 100) == MANY.raws[100]
        assert (one.counts()["bundle"], two.counts()["bundle"]) == (1, 2)
        assert not any(peer.is_struck or peer.is_down() for peer in node.peers)


async def test_what_came_before_a_body_breaks_off_is_kept(store: Store, autojump_clock: MockClock) -> None:
    """The other share is asked for the rest only, from the first member that is not whole."""
    one, two = bundle_share("http://one/", bundle="s"), bundle_share("http://two/", group=2)
    one.short_after = 100 * KIB
    async with bundling(store, one, two) as node:
        assert await node.bring(MANY, 7) == MANY.raws[7]
        assert (one.ranges("bundle"), two.ranges("bundle")) == ([MANY.range_of(0, 8)], [MANY.range_of(3, 8)])
        await node.settled()
        assert node.kept(MANY) == [*range(8)]


@pytest.mark.parametrize("letter", ["h", "m"])
async def test_another_bundle_takes_over_from_one_that_hangs(
    store: Store, autojump_clock: MockClock, letter: str
) -> None:
    """P5: after the share's patience, as with a load; it is cancelled and not asked for a while."""
    one, two = bundle_share("http://one/", bundle=letter), bundle_share("http://two/", group=2)
    one.short_after = 50 * KIB
    async with bundling(store, one, two) as node:
        with within(FIRST_PATIENCE):
            assert await node.bring(MANY, 7) == MANY.raws[7]
        await wait_all_tasks_blocked()
        assert (one.in_flight, node.peers[0].is_down()) == (0, True)
        with within(0):
            assert await node.bring(MANY, 100) == MANY.raws[100]
        assert (one.counts()["bundle"], two.counts()["bundle"]) == (1, 2)


async def test_a_bundle_that_hangs_is_given_up_when_another_share_may_have_the_blob(
    store: Store, autojump_clock: MockClock
) -> None:
    """P5: nobody else has a bundle, but the usual load has somebody to ask; all readers are told, once."""
    one, two = bundle_share("http://one/", bundle="h*"), FakeShare("http://two/", group=2)
    got: list[bytes | None] = []
    async with bundling(store, one, two) as node:
        node.peers[1].estimates.answered(0.01)
        two.asked.clear()

        async def read(number: int) -> None:
            got.append(await node.bring(MANY, number))

        with within(FIRST_PATIENCE + 2 * LOOK_AGAIN):
            async with trio.open_nursery() as readers:
                for number in range(8):
                    readers.start_soon(read, number)
        assert got == [None] * 8
        assert (one.counts()["bundle"], one.in_flight, node.peers[0].is_down()) == (1, 0, True)
        with within(0):
            assert await node.bring(MANY, 100) is None
        assert one.counts()["bundle"] == 1


async def test_the_only_share_is_waited_for_but_not_for_ever(store: Store, autojump_clock: MockClock) -> None:
    """P3: as long as a share may take for its first byte, or a third of a read, whatever is less."""
    one = bundle_share("http://one/", bundle="h*")
    settings = replace(SETTINGS, read_timeout=6.0)
    async with bundling(store, one) as node:
        with within(10, least=10):
            assert await node.bring(MANY, 0) is None
    async with bundling(store, one, settings=settings) as node:
        with within(2, least=2):
            assert await node.bring(MANY, 0) is None


async def test_an_answer_that_is_late_is_used_all_the_same(store: Store, autojump_clock: MockClock) -> None:
    """The reader's time was over, the bytes are good for the next one."""
    one = bundle_share("http://one/")
    one.latency = 11.0
    async with bundling(store, one) as node:
        assert await node.bring(MANY, 0) is None
        await trio.sleep(2.0)
        await node.settled()
        assert node.kept(MANY) == [*range(8)]


async def test_a_share_that_is_down_is_not_asked(store: Store, autojump_clock: MockClock) -> None:
    """The usual load asks it if nobody else is left, and knows what to say."""
    one, two = bundle_share("http://one/"), bundle_share("http://two/", group=2)
    async with bundling(store, one, two) as node:
        for peer in node.peers:
            peer.record_failure(failed_attempt(peer.shown, "blob", Kind.RESET, "connection reset"))
        assert await node.bring(MANY, 0) is None
        assert await node.bring(MANY, 0) is None
        assert one.asked + two.asked == []
        await trio.sleep(0.5)
        assert await node.bring(MANY, 0) == MANY.raws[0]


@pytest.mark.parametrize("letters", ["u", "b", "s"])
async def test_a_failure_goes_to_the_next_share_without_a_word(
    store: Store, autojump_clock: MockClock, letters: str, caplog: pytest.LogCaptureFixture
) -> None:
    """P5: an operator is told only of what the usual load would not find."""
    one, two = bundle_share("http://one/", bundle=letters), bundle_share("http://two/", group=2)
    async with bundling(store, one, two) as node:
        with within(0):
            assert await node.bring(MANY, 0) == MANY.raws[0]
        assert (one.counts()["bundle"], two.counts()["bundle"]) == (1, 1)
    assert list(complaints(caplog)) == []


async def test_a_share_that_refuses_before_it_ever_answered_is_named(
    store: Store, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """P5: the next one is asked at once; but a token that is not accepted is for an operator to mend."""
    one, two = bundle_share("http://one/", bundle="r"), bundle_share("http://two/", group=2)
    async with bundling(store, one, two) as node:
        with within(0):
            assert await node.bring(MANY, 0) == MANY.raws[0]
    (said,) = complaints(caplog)
    assert said.startswith("http://one/ ")


# All of a package


async def test_a_whole_package_comes_over_all_shares(store: Store, autojump_clock: MockClock) -> None:
    """In spans of 4 MiB, each member once; as many at a time of each share as the node has set."""
    shares = [bundle_share(f"http://{number}/") for number in range(3)]
    for share in shares:
        share.line.rate = 8 * 2**20
    async with bundling(store, *shares) as node:
        assert await node.bring_all(MANY) == (set(), len(MANY.members), len(MANY.bundle))
        assert node.kept(MANY) == EVERYTHING
        assert sorted(node.told) == sorted(MANY.blobs)
        found = [asked for share in shares for asked in share.ranges("bundle")]
        assert sorted(found) == [
            (0, LARGEST),
            (LARGEST, LARGEST),
            (2 * LARGEST, len(MANY.bundle) - 2 * LARGEST),
        ]
        assert [share.counts()["bundle"] for share in shares] == [1, 1, 1]
        assert node.bundles.statistics().waiting == 0


async def test_as_many_spans_of_a_share_as_are_set(store: Store, autojump_clock: MockClock) -> None:
    """No more of them at a time, whatever the shares could take."""
    share = bundle_share("http://one/", of=MANY)
    share.line.rate = 8 * 2**20
    async with bundling(store, share) as node:
        missing, _, _ = await node.bring_all(MANY)
        assert (missing, share.most_in_flight, share.counts()["bundle"]) == (
            set(),
            SETTINGS.spans_per_share,
            3,
        )


async def test_only_what_is_absent_is_asked_for(store: Store, autojump_clock: MockClock) -> None:
    """Of a package that is here but for a few blobs; what is here counts as arrived."""
    share = bundle_share("http://one/")
    async with bundling(store, share) as node:
        most = set(MANY.blobs) - {MANY.blobs[number] for number in (5, 6, 300)}
        await node.bring_all(MANY, most)
        share.asked.clear()
        assert await node.bring_all(MANY) == (set(), len(MANY.members), len(MANY.bundle))
        assert sorted(share.ranges("bundle")) == [MANY.range_of(5, 7), MANY.range_of(300, 301)]
        assert await node.bring_all(MANY) == (set(), len(MANY.members), len(MANY.bundle))
        assert share.counts()["bundle"] == 2


async def test_only_what_is_wanted_is_asked_for(store: Store, autojump_clock: MockClock) -> None:
    """What nobody wants is not even looked for."""
    share = bundle_share("http://one/")
    async with bundling(store, share) as node:
        wanted = {MANY.blobs[number] for number in (0, 1, 9)}
        assert await node.bring_all(MANY, wanted) == (set(), 3, 3 * 32 * KIB)
        assert share.ranges("bundle") == [MANY.range_of(0, 2), MANY.range_of(9, 10)]


async def test_readers_and_who_wants_all_share_one_download(store: Store, autojump_clock: MockClock) -> None:
    """P7: whatever the order in which they come, each member is asked for once."""
    share = bundle_share("http://one/")
    share.line.rate = 8 * 2**20
    missing: list[set[object]] = []
    async with bundling(store, share) as node, trio.open_nursery() as nursery:

        async def all_of_it() -> None:
            missing.append(set((await node.bring_all(MANY))[0]))

        nursery.start_soon(node.bring, MANY, 100)
        for _ in range(3):
            nursery.start_soon(all_of_it)
        await trio.sleep(0.1)
        for number in range(0, 320, 10):
            assert await node.read(MANY, number) == MANY.raws[number]
    assert missing == [set()] * 3
    assert share.received == len(MANY.bundle)


async def test_who_wanted_all_and_is_cancelled_takes_nothing_from_others(
    store: Store, autojump_clock: MockClock
) -> None:
    """What was under way comes; nothing more is asked for."""
    share = bundle_share("http://one/", bundle="gg")
    async with bundling(store, share) as node:
        with trio.move_on_after(0.1):
            await node.bring_all(MANY)
        share.gate.set()
        await node.settled()
        assert (share.counts()["bundle"], len(node.kept(MANY))) == (2, 2 * LARGEST // (32 * KIB))


async def test_a_share_that_dies_leaves_its_part_to_the_others(
    store: Store, autojump_clock: MockClock
) -> None:
    """Nothing of what it brought is asked for again."""
    dying, other = bundle_share("http://one/", bundle="su*"), bundle_share("http://two/")
    dying.line.rate = other.line.rate = 8 * 2**20
    dying.short_after = 1000 * KIB
    async with bundling(store, dying, other) as node:
        assert await node.bring_all(MANY) == (set(), len(MANY.members), len(MANY.bundle))
        assert other.received == len(MANY.bundle) - 1000 * KIB // (32 * KIB) * 32 * KIB


async def test_the_only_share_may_fail_once(store: Store, autojump_clock: MockClock) -> None:
    """It is waited for: a thousand requests for single blobs would find it as it is, too."""
    share = bundle_share("http://one/", bundle="us")
    share.short_after = 500 * KIB
    async with bundling(store, share, settings=PERSISTENT) as node:
        with within(2):
            assert await node.bring_all(MANY) == (set(), len(MANY.members), len(MANY.bundle))
        assert node.kept(MANY) == EVERYTHING


async def test_a_share_that_stays_away_is_given_up(store: Store, autojump_clock: MockClock) -> None:
    """After a second or two, and what has come stays."""
    share = bundle_share("http://one/", bundle="ou*")
    share.line.rate = 64 * 2**20
    async with bundling(store, share, settings=PERSISTENT) as node:
        with within(3):
            missing, blobs, length = await node.bring_all(MANY)
        kept = node.kept(MANY)
        assert missing == {MANY.blobs[number] for number in EVERYTHING if number not in kept}
        assert (len(kept), blobs, length) == (128, 128, LARGEST)


async def test_a_share_that_crawls_loses_the_rest(store: Store, autojump_clock: MockClock) -> None:
    """P5: as with a load: what it still owes is moved to one that would have it much sooner."""
    slow, fast = bundle_share("http://one/"), bundle_share("http://two/")
    slow.line.rate, fast.line.rate = 2**18, 2**25
    async with bundling(store, slow, fast) as node:
        with within(3):
            assert (await node.bring_all(MANY))[0] == set()
        assert slow.received < 2**20
        assert node.singles.extra.statistics().moved >= 1
        await trio.sleep(SETTLED)
