"""Names on the shares: three answers that are never mixed up, and no more requests than they need."""

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from blobfs import errors
from blobfs.model import ROOT, Name, Outcome
from blobfs.record import DirRecord, GoneRecord, LogEntry, SymlinkRecord
from blobfs.sync.naming.answers import Absent, Answer, Present, PresentPlain, Unknown
from blobfs.sync.naming.catalogue import CONFLICT_GRACE, Catalogue
from blobfs.sync.peer import SUSPECT_BOUND, Peer
from tests.sync.fake_share import FakeShare, blob_of, record_of
from tests.sync.running import SETTINGS

NAME = Name("dir/name")


def catalogue(*shares: FakeShare) -> tuple[Catalogue, list[Peer]]:
    peers = [Peer(share) for share in shares]
    return Catalogue(peers, SETTINGS), peers


async def test_without_shares_every_name_is_absent() -> None:
    """Nobody could have it."""
    made, _ = catalogue()
    assert await made.lookup(NAME) == Absent()


async def test_three_answers() -> None:
    """Present, absent, unknown: each for its reason (P4)."""
    has, lacks, fails = FakeShare("http://has/"), FakeShare("http://lacks/"), FakeShare(record="u*")
    record = has.publish(NAME, b"content")
    made, peers = catalogue(lacks, has)
    assert await made.lookup(NAME) == Present(record, peers[1])
    made, _ = catalogue(lacks)
    assert await made.lookup(NAME) == Absent()
    made, _ = catalogue(lacks, fails)
    answer = await made.lookup(NAME)
    assert isinstance(answer, Unknown)
    assert [(each.share, each.outcome) for each in answer.attempts] == [(fails.shown, Outcome.UNREACHABLE)]


async def test_a_directory_and_a_symlink_are_found() -> None:
    """A directory's record stands in its parent's log, which then answers for what else it lists."""
    share = FakeShare()
    share.publish("dir/name", b"content")
    link = SymlinkRecord("dir/name", 1, 1)
    share.put("link", link)
    made, peers = catalogue(share)
    assert await made.lookup(Name("dir")) == Present(DirRecord(500, 500), peers[0])
    assert await made.lookup(Name("link")) == Present(link, peers[0])
    assert share.counts() == {"record": 1, "log": 1}


async def test_an_absence_is_believed_for_a_moment(mock_clock: MockClock) -> None:
    """One question for many lookups; after `negative_ttl` the shares are asked again."""
    share = FakeShare()
    made, peers = catalogue(share)
    for _ in range(3):
        assert await made.lookup(NAME) == Absent()
    assert share.counts() == {"record": 1}
    record = share.publish(NAME, b"content")
    mock_clock.jump(SETTINGS.negative_ttl)
    assert await made.lookup(NAME) == Present(record, peers[0])


async def test_what_is_unknown_is_not_remembered() -> None:
    """P4: the next lookup asks again, and a share that is back is heard at once."""
    share = FakeShare(record="r")
    record = share.publish(NAME, b"content")
    made, peers = catalogue(share)
    assert isinstance(await made.lookup(NAME), Unknown)
    assert await made.lookup(NAME) == Present(record, peers[0])


async def test_one_failure_hides_no_name() -> None:
    """P4: a share that failed a moment ago is asked all the same, for what only it has."""
    share = FakeShare(record="b")
    record = share.publish(NAME, b"content")
    made, peers = catalogue(share)
    assert isinstance(await made.lookup(NAME), Unknown)
    assert peers[0].is_down()
    assert await made.lookup(NAME) == Present(record, peers[0])


async def test_a_share_that_goes_on_failing_is_not_asked(mock_clock: MockClock) -> None:
    """P5: after three failures with pauses between it is left alone for a while, and that is no absence."""
    share = FakeShare(record="uuu")
    record = share.publish(NAME, b"content")
    made, peers = catalogue(share)
    for pause in (0.5, 1, 0, 0, 0):
        assert isinstance(await made.lookup(NAME), Unknown)
        mock_clock.jump(pause)
    assert share.counts() == {"record": 3}
    mock_clock.jump(2)
    assert await made.lookup(NAME) == Present(record, peers[0])


async def test_a_share_that_failed_gets_little_time(mock_clock: MockClock) -> None:
    """A second lookup does not wait as long as the first for a share that hangs."""
    share = FakeShare(record="h*")
    made, _ = catalogue(share)
    assert isinstance(await lookup_in_time(made, mock_clock, share, 5), Unknown)
    share.waiting = trio.Event()
    assert isinstance(await lookup_in_time(made, mock_clock, share, SUSPECT_BOUND), Unknown)


async def lookup_in_time(made: Catalogue, clock: MockClock, share: FakeShare, seconds: float) -> Answer:
    """What a lookup says although `share` hangs, when `seconds` have passed."""
    answers: list[Answer] = []
    async with trio.open_nursery() as nursery:

        async def look() -> None:
            answers.append(await made.lookup(NAME))

        nursery.start_soon(look)
        await share.waiting.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert answers == []
        clock.jump(seconds)
    return answers[0]


async def test_a_lookup_is_bounded(mock_clock: MockClock) -> None:
    """P3: whoever has not answered by then counts as unreachable, and no request is left behind."""
    hangs, lacks = FakeShare("http://hangs/", record="h"), FakeShare("http://lacks/")
    made, _ = catalogue(hangs, lacks)
    answer = await lookup_in_time(made, mock_clock, hangs, SETTINGS.lookup_timeout)
    assert isinstance(answer, Unknown)
    assert [each.share for each in answer.attempts] == ["http://hangs/"]
    assert hangs.in_flight == 0


async def test_one_answer_is_enough_after_a_grace(mock_clock: MockClock) -> None:
    """The other shares have a moment to name something newer; a hanging one does not hold it up."""
    hangs, has = FakeShare("http://hangs/", record="h"), FakeShare("http://has/")
    record = has.publish(NAME, b"content")
    made, peers = catalogue(hangs, has)
    answer = await lookup_in_time(made, mock_clock, hangs, CONFLICT_GRACE)
    assert answer == Present(record, peers[1])


async def test_within_the_grace_a_newer_record_is_heard(mock_clock: MockClock) -> None:
    """Of two publishers the newest record wins, although its share is the slower one."""
    slow, fast = FakeShare("http://slow/", record="g"), FakeShare("http://fast/")
    newest = slow.publish(NAME, b"new", 2)
    fast.publish(NAME, b"old", 1)
    made, peers = catalogue(slow, fast)
    answers: list[Answer] = []
    async with trio.open_nursery() as nursery:

        async def look() -> None:
            answers.append(await made.lookup(NAME))

        nursery.start_soon(look)
        await slow.waiting.wait()
        await trio.testing.wait_all_tasks_blocked()
        slow.gate.set()
    assert answers == [Present(newest, peers[0])]


async def test_a_tombstone_waits_for_the_other_shares(mock_clock: MockClock) -> None:
    """The name may have been shared again by somebody whose share is slow."""
    slow, fast = FakeShare("http://slow/", record="g"), FakeShare("http://fast/")
    newest = slow.publish(NAME, b"again", 2)
    fast.put(NAME, GoneRecord(1))
    made, peers = catalogue(slow, fast)
    answers: list[Answer] = []
    async with trio.open_nursery() as nursery:

        async def look() -> None:
            answers.append(await made.lookup(NAME))

        nursery.start_soon(look)
        await slow.waiting.wait()
        mock_clock.jump(2 * CONFLICT_GRACE)
        await trio.testing.wait_all_tasks_blocked()
        slow.gate.set()
    assert answers == [Present(newest, peers[0])]


async def test_an_unusable_record_is_an_error_of_its_own() -> None:
    """EBADMSG when nothing else is known, and no trouble when another share has a good one."""
    bad, good = FakeShare("http://bad/", record="w*"), FakeShare("http://good/")
    made, _ = catalogue(bad)
    with pytest.raises(errors.WrongEverywhere):
        await made.lookup(NAME)
    record = good.publish(NAME, b"content")
    made, peers = catalogue(bad, good)
    assert await made.lookup(NAME) == Present(record, peers[1])


async def test_a_symlink_that_leads_out_of_the_mount_is_no_answer() -> None:
    """A share does not choose where in the reader's machine a link points."""
    share = FakeShare()
    share.put("dir/link", SymlinkRecord("../../etc/passwd", 1, 1))
    share.put("dir/fine", SymlinkRecord("../name", 1, 1))
    made, _ = catalogue(share)
    with pytest.raises(errors.WrongEverywhere):
        await made.lookup(Name("dir/link"))
    assert isinstance(await made.lookup(Name("dir/fine")), Present)
    assert [*(await made.listing(Name("dir"))).entries] == ["fine"]


async def test_a_plain_share_answers_too() -> None:
    """A record is better where there is one."""
    plain, share = FakeShare("http://plain/", plain=True), FakeShare()
    plain.put_file(NAME, b"content")
    made, peers = catalogue(plain, share)
    assert await made.lookup(NAME) == PresentPlain(plain.files[NAME][0], peers[0])
    record = share.publish("both", b"content")
    plain.put_file("both", b"content")
    assert await made.lookup(Name("both")) == Present(record, peers[1])


# Listings


async def test_a_listing_puts_all_logs_together() -> None:
    """Of each name the newest record, tombstones among them."""
    one, two = FakeShare("http://one/"), FakeShare("http://two/")
    a = one.publish("a", b"a", 1)
    one.publish("b", b"old", 1)
    b = two.publish("b", b"new", 2)
    two.put("c", GoneRecord(3))
    made, peers = catalogue(one, two)
    listing = await made.listing(ROOT)
    assert listing.entries == {"a": (a, peers[0]), "b": (b, peers[1]), "c": (GoneRecord(3), peers[1])}
    assert listing.exists
    assert listing.failures == ()


async def test_a_second_listing_asks_only_for_the_tail(mock_clock: MockClock) -> None:
    """What was added since, from the last line that is known; fresh ones are not asked for at all."""
    share = FakeShare()
    for number in range(100):
        share.publish(f"{number:03}", b"%d" % number, number)
    made, _ = catalogue(share)
    await made.listing(ROOT)
    await made.listing(ROOT)
    assert share.counts() == {"log": 1}
    whole, share.received = share.received, 0
    share.publish("added", b"added", 1000)
    mock_clock.jump(SETTINGS.listing_ttl)
    assert len((await made.listing(ROOT)).entries) == 101
    assert share.counts() == {"log": 2}
    assert share.asked[-1].offset > 0
    assert share.received < whole / 20


async def test_a_rebuilt_log_is_read_anew(mock_clock: MockClock) -> None:
    """Names that it no longer has are gone."""
    share = FakeShare()
    share.publish("old", b"old", 1)
    made, _ = catalogue(share)
    await made.listing(ROOT)
    share.rebuild_log(ROOT, [LogEntry("new", record_of(b"new", 2))])
    mock_clock.jump(SETTINGS.listing_ttl)
    assert [*(await made.listing(ROOT)).entries] == ["new"]


async def test_a_fresh_listing_answers_lookups_without_a_request(mock_clock: MockClock) -> None:
    """`ls -l` asks for no single name; what is not listed is asked for, for the records are the truth."""
    share = FakeShare()
    records = {name: share.publish(f"d/{name}", name.encode(), 5) for name in ("a", "b", "c")}
    share.put("d/gone", GoneRecord(6))
    made, peers = catalogue(share)
    await made.listing(Name("d"))
    share.asked.clear()
    for name, record in records.items():
        assert await made.lookup(Name(f"d/{name}")) == Present(record, peers[0])
    assert await made.lookup(Name("d/gone")) == Absent()
    assert share.asked == []
    assert await made.lookup(Name("d/other")) == Absent()
    assert share.counts() == {"record": 1}


async def test_a_directory_that_is_read_on_costs_a_request_for_each_ttl(mock_clock: MockClock) -> None:
    """Not one for each of its files: the tail of its log is read again. A newer record is found in it."""
    share = FakeShare()
    records = {name: share.publish(f"d/{name}", name.encode(), 5) for name in ("a", "b", "c")}
    made, peers = catalogue(share)
    await made.listing(Name("d"))
    share.asked.clear()
    mock_clock.jump(SETTINGS.listing_ttl)
    newer = share.publish("d/c", b"newer", 6)
    for name, record in (records | {"c": newer}).items():
        assert await made.lookup(Name(f"d/{name}")) == Present(record, peers[0])
    assert share.counts() == {"log": 1}


async def test_while_a_share_is_down_each_name_is_asked_for_itself(mock_clock: MockClock) -> None:
    """The others' records are not waited for longer than they are worth."""
    one, two = FakeShare("http://one/"), FakeShare("http://two/", log="u*", record="u*")
    record = one.publish("name", b"content", 1)
    made, peers = catalogue(one, two)
    await made.listing(ROOT)
    mock_clock.jump(0.1)
    assert peers[1].is_down()
    assert await made.lookup(Name("name")) == Present(record, peers[0])
    assert one.counts() == {"log": 1, "record": 1}


async def test_a_lookup_asks_while_one_log_is_not_fresh(mock_clock: MockClock) -> None:
    """The share whose log could not be read may have a newer record."""
    one, two = FakeShare("http://one/"), FakeShare("http://two/", log="r*")
    one.publish("name", b"old", 1)
    newest = two.publish("name", b"new", 2)
    made, peers = catalogue(one, two)
    await made.listing(ROOT)
    assert await made.lookup(Name("name")) == Present(newest, peers[1])


async def test_a_path_costs_a_request_for_each_directory() -> None:
    """What was found to be a directory is gone into by its log, which says of each next one what it is."""
    share = FakeShare()
    record = share.publish("a/b/c/d/name", b"content")
    made, peers = catalogue(share)
    for name in ("a", "a/b", "a/b/c", "a/b/c/d"):
        assert await made.lookup(Name(name)) == Present(DirRecord(500, 500), peers[0])
    assert await made.lookup(Name("a/b/c/d/name")) == Present(record, peers[0])
    assert share.counts() == {"record": 1, "log": 5}
    assert await made.lookup(Name("a/b/c/d/other")) == Absent()  # the records are the truth
    assert share.counts() == {"record": 2, "log": 5}


async def test_a_long_log_is_not_read_for_one_name() -> None:
    """Its beginning, once; then its names are asked for one by one, until there are several."""
    share = FakeShare()
    for number in range(200):
        share.publish(f"d/{number:03}", b"%d" % number, number)
    made, _ = catalogue(share)
    await made.lookup(Name("d"))
    share.asked.clear()
    received = share.received
    assert isinstance(await made.lookup(Name("d/001")), Present)
    assert isinstance(await made.lookup(Name("d/002")), Present)
    assert share.counts() == {"record": 2, "log": 1}
    assert share.received == received


async def test_a_share_that_goes_away_below_a_directory_is_unknown() -> None:
    """It is asked no second time for the same name; one that only refuses its log is asked for the record."""
    for letter, expected, counts in (("u", Unknown, {"log": 1}), ("r", Present, {"log": 1, "record": 1})):
        share = FakeShare(log=f".{letter}")
        share.publish("d/name", b"content")
        made, _ = catalogue(share)
        await made.lookup(Name("d"))
        share.asked.clear()
        assert isinstance(await made.lookup(Name("d/name")), expected)
        assert share.counts() == counts


async def test_names_in_what_is_no_directory_there_are_not_asked_for() -> None:
    """A listing that said "no such directory" answers for all names in it."""
    has, lacks = FakeShare("http://has/"), FakeShare("http://lacks/")
    record = has.publish("d/name", b"content")
    made, peers = catalogue(has, lacks)
    await made.listing(Name("d"))
    lacks.asked.clear()
    assert await made.lookup(Name("d/other")) == Absent()
    assert await made.lookup(Name("d/name")) == Present(record, peers[0])
    assert lacks.asked == []


async def test_a_listing_survives_a_share_that_fails(mock_clock: MockClock) -> None:
    """What was known of it stays listed, and the failure is told."""
    one, two = FakeShare("http://one/", log="ou*"), FakeShare("http://two/")
    one.publish("a", b"a")
    two.publish("b", b"b")
    made, _ = catalogue(one, two)
    assert (await made.listing(ROOT)).failures == ()
    two.publish("c", b"c")
    mock_clock.jump(SETTINGS.listing_ttl)
    listing = await made.listing(ROOT)
    assert sorted(listing.entries) == ["a", "b", "c"]
    assert [each.share for each in listing.failures] == ["http://one/"]


async def test_a_listing_is_bounded(mock_clock: MockClock) -> None:
    """P3: a share that hangs is left out and told as a failure; the others are listed."""
    hangs, has = FakeShare("http://hangs/", log="h"), FakeShare("http://has/")
    has.publish("name", b"content")
    made, _ = catalogue(hangs, has)
    done: list[tuple[list[str], list[str]]] = []
    async with trio.open_nursery() as nursery:

        async def look() -> None:
            listing = await made.listing(ROOT)
            done.append(([*listing.entries], [each.share for each in listing.failures]))

        nursery.start_soon(look)
        await hangs.waiting.wait()
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(SETTINGS.lookup_timeout)
    assert done == [(["name"], ["http://hangs/"])]
    assert hangs.in_flight == 0


async def test_listings_at_the_same_time_cost_one_request() -> None:
    """P7, for logs."""
    share = FakeShare(log="g")
    share.publish("name", b"content")
    made, _ = catalogue(share)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(made.listing, ROOT)
        await trio.testing.wait_all_tasks_blocked()
        share.gate.set()
    assert share.counts() == {"log": 1}


# Sizes of blobs


async def test_the_size_of_a_blob_comes_from_the_first_share_that_has_it() -> None:
    """Without waiting for one that hangs; None when every share says it has not."""
    hangs, has, lacks = FakeShare("http://hangs/", size="h*"), FakeShare(), FakeShare("http://lacks/")
    blob = has.add_blob(b"content")
    made, _ = catalogue(hangs, has, lacks)
    assert await made.blob_size(blob) == 7
    assert hangs.in_flight == 0
    made, _ = catalogue(has, lacks)
    assert await made.blob_size(blob_of(b"other")) is None


async def test_a_blob_that_nobody_has_but_not_everybody_said_so_is_unreachable(
    mock_clock: MockClock,
) -> None:
    """P4, and each share is told for what it did."""
    fails, lacks, hangs = (
        FakeShare("http://u/", size="u*"),
        FakeShare("http://a/"),
        FakeShare("http://h/", size="h"),
    )
    made, _ = catalogue(fails, lacks, hangs)
    caught: list[errors.LoadFailed] = []
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(errors.Unreachable) as failed:
                await made.blob_size(blob_of(b"content"))
            caught.append(failed.value)

        nursery.start_soon(ask)
        await hangs.waiting.wait()
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(SETTINGS.lookup_timeout)
    assert sorted(each.share for each in caught[0].attempts) == ["http://h/", "http://u/"]


async def test_shares_are_asked_at_the_same_time() -> None:
    """The answer takes as long as the slowest share, not as long as all of them."""
    shares = [FakeShare(f"http://{number}/", record="g") for number in range(5)]
    made = Catalogue([Peer(share) for share in shares], replace(SETTINGS, lookup_timeout=60))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.lookup, NAME)
        for share in shares:
            await share.waiting.wait()
        for share in shares:
            share.gate.set()


async def test_a_share_that_failed_a_moment_ago_is_not_waited_for(mock_clock: MockClock) -> None:
    """P5: once another one has answered; the clock stands still here, so any grace would last for ever."""
    one, two = FakeShare("http://one/"), FakeShare("http://two/", record="uh*")
    record = one.publish("name", b"content", 1)
    made, peers = catalogue(one, two)
    await made.lookup(Name("other"))
    assert not peers[1].is_up()
    assert await made.lookup(Name("name")) == Present(record, peers[0])
