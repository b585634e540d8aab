"""Which request for bytes goes next, over all loads: order, room, fairness; what a cancelled one leaves."""

from functools import partial

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from blobfs.model import Kind
from blobfs.shares.choice import Urgency
from blobfs.shares.retry_rules import failed_attempt
from blobfs.sync.loading.dispatch import KEPT_FREE, Dispatcher
from blobfs.sync.peer import Peer
from tests.sync.fake_share import FakeShare

READER, AHEAD, FILL = Urgency
LENGTH = 2**20


def peers_of(*rooms: int) -> tuple[Peer, ...]:
    """Shares that may be given so many requests each."""
    return tuple(Peer(FakeShare(f"http://{n}/", concurrent=room)) for n, room in enumerate(rooms))


def fail(peer: Peer) -> None:
    peer.record_failure(failed_attempt(peer.shown, "blob", Kind.RESET, "reset"))


class Requests:
    """Asks for leases in tasks; `granted` has the labels in the order in which they were given one."""

    def __init__(self, dispatcher: Dispatcher, nursery: trio.Nursery) -> None:
        self.dispatcher = dispatcher
        self.nursery = nursery
        self.granted: list[str] = []
        self.peers: dict[str, Peer] = {}
        self.scopes: dict[str, trio.CancelScope] = {}
        self.urgencies: dict[str, Urgency] = {}

    async def ask(
        self, label: str, peers: tuple[Peer, ...], urgency: Urgency = READER, load_spans: int = 1
    ) -> None:
        """Returns when it is granted, or waits."""
        self.urgencies[label] = urgency
        self.scopes[label] = trio.CancelScope()
        self.nursery.start_soon(self._lease, label, peers, load_spans)
        await wait_all_tasks_blocked()

    async def _lease(self, label: str, peers: tuple[Peer, ...], load_spans: int) -> None:
        with self.scopes[label]:
            self.peers[label] = await self.dispatcher.lease(
                peers, LENGTH, lambda: self.urgencies[label], lambda: load_spans
            )
            self.granted.append(label)

    async def end(self, label: str) -> None:
        self.dispatcher.release(self.peers.pop(label))
        await wait_all_tasks_blocked()


async def test_a_request_waits_for_room_and_gets_it(nursery: trio.Nursery) -> None:
    """One share with room for one: one after the other."""
    peers = peers_of(1)
    requests = Requests(Dispatcher(8), nursery)
    await requests.ask("first", peers)
    await requests.ask("second", peers)
    assert requests.granted == ["first"]
    assert requests.dispatcher.statistics().waiting == 1
    await requests.end("first")
    assert requests.granted == ["first", "second"]
    await requests.end("second")
    assert (requests.dispatcher.statistics().bodies, peers[0].bodies) == (0, 0)


async def test_what_a_reader_waits_for_goes_first(nursery: trio.Nursery) -> None:
    """Then read-ahead, then the fill, whoever came first; among equals who came first."""
    peers = peers_of(1)
    requests = Requests(Dispatcher(99), nursery)
    await requests.ask("running", peers)
    for label, urgency in [("fill", FILL), ("ahead", AHEAD), ("reader", READER), ("late", READER)]:
        await requests.ask(label, peers, urgency)
    for label in ["running", "reader", "late", "ahead"]:
        await requests.end(label)
    assert requests.granted == ["running", "reader", "late", "ahead", "fill"]


async def test_among_equals_the_load_with_fewest_requests_goes_first(nursery: trio.Nursery) -> None:
    """A huge load that came first does not keep a small one waiting."""
    peers = peers_of(1)
    requests = Requests(Dispatcher(8), nursery)
    await requests.ask("running", peers)
    await requests.ask("huge", peers, load_spans=40)
    await requests.ask("small", peers, load_spans=1)
    await requests.end("running")
    assert requests.granted == ["running", "small"]


async def test_a_reader_who_comes_later_makes_a_request_urgent(nursery: trio.Nursery) -> None:
    """It was read-ahead when it was asked for; the others still are."""
    peers = peers_of(1)
    requests = Requests(Dispatcher(99), nursery)
    await requests.ask("running", peers)
    await requests.ask("first", peers, AHEAD)
    await requests.ask("second", peers, AHEAD)
    requests.urgencies["second"] = READER
    await requests.end("running")
    assert requests.granted == ["running", "second"]


async def test_what_became_urgent_is_not_held_back_any_more(nursery: trio.Nursery) -> None:
    """The places that are kept free for readers are his at once: nothing has to end first."""
    peers = peers_of(9)
    requests = Requests(Dispatcher(1 + KEPT_FREE[AHEAD]), nursery)
    await requests.ask("running", peers, AHEAD)
    await requests.ask("held back", peers, AHEAD)
    assert requests.granted == ["running"]
    requests.urgencies["held back"] = READER
    requests.dispatcher.reconsider()
    await wait_all_tasks_blocked()
    assert requests.granted == ["running", "held back"]


@pytest.mark.parametrize("urgency", Urgency)
async def test_bodies_are_bounded_and_some_kept_for_who_waits(
    nursery: trio.Nursery, urgency: Urgency
) -> None:
    """So many at once over all shares, fewer for what nobody waits for."""
    peers = peers_of(20, 20)
    requests = Requests(Dispatcher(10), nursery)
    for turn in range(12):
        await requests.ask(f"{urgency.name} {turn}", peers, urgency)
    most = 10 - KEPT_FREE[urgency]
    assert requests.dispatcher.statistics().bodies == len(requests.granted) == most
    assert sum(peer.bodies for peer in peers) == most
    await requests.ask("reader", peers)
    assert ("reader" in requests.granted) == (urgency is not READER)


async def test_of_few_bodies_one_is_for_everybody(nursery: trio.Nursery) -> None:
    """Where less may come in at once than is kept free, the fill still gets its turn."""
    peers = peers_of(9)
    requests = Requests(Dispatcher(1), nursery)
    await requests.ask("fill", peers, FILL)
    assert requests.granted == ["fill"]


async def test_a_request_that_is_cancelled_while_it_waits_is_forgotten(nursery: trio.Nursery) -> None:
    """The next one in the row gets what it waited for."""
    peers = peers_of(1)
    requests = Requests(Dispatcher(8), nursery)
    for label in "running", "cancelled", "next":
        await requests.ask(label, peers)
    requests.scopes["cancelled"].cancel()
    await wait_all_tasks_blocked()
    assert requests.dispatcher.statistics().waiting == 1
    await requests.end("running")
    assert requests.granted == ["running", "next"]


async def test_a_request_that_is_cancelled_as_it_is_granted_gives_it_back(nursery: trio.Nursery) -> None:
    """Between the grant and the task that wakes up for it: the share is free again for the next one."""
    peers = peers_of(1)
    requests = Requests(Dispatcher(8), nursery)
    for label in "running", "cancelled", "next":
        await requests.ask(label, peers)
    requests.scopes["cancelled"].cancel()
    await requests.end("running")
    assert requests.granted == ["running", "next"]
    await requests.end("next")
    assert (requests.dispatcher.statistics().bodies, peers[0].bodies) == (0, 0)


async def test_who_is_held_back_stops_only_who_is_less_urgent(nursery: trio.Nursery) -> None:
    """The fill waits for quieter times; read-ahead does not wait for the fill."""
    peers = peers_of(20)
    requests = Requests(Dispatcher(1 + KEPT_FREE[FILL]), nursery)
    await requests.ask("running", peers, FILL)
    await requests.ask("held back", peers, FILL)
    assert requests.dispatcher.offer(peers, LENGTH, FILL, 20) is None
    assert requests.dispatcher.offer(peers, LENGTH, AHEAD, 20) is peers[0]


async def test_who_waits_for_a_stuck_share_stops_nobody_elsewhere(nursery: trio.Nursery) -> None:
    """Its readers may wait for long; loads from other shares read ahead all the same."""
    stuck, other = peers_of(1, 8)
    requests = Requests(Dispatcher(99), nursery)
    await requests.ask("hangs", (stuck,))
    await requests.ask("waits", (stuck,))
    assert requests.granted == ["hangs"]
    assert requests.dispatcher.offer((other,), LENGTH, AHEAD, 2) is other
    assert requests.dispatcher.offer((stuck, other), LENGTH, AHEAD, 2) is other


async def test_a_share_that_may_be_back_is_tried_while_readers_wait(
    nursery: trio.Nursery, mock_clock: MockClock
) -> None:
    """They wait for those that are up; what nobody waits for finds out, and relieves them."""
    up, back = peers_of(1, 8)
    fail(back)
    requests = Requests(Dispatcher(99), nursery)
    await requests.ask("running", (up, back))
    mock_clock.jump(1)
    await requests.ask("waits", (up, back))
    assert requests.granted == ["running"]
    assert requests.dispatcher.offer((up, back), LENGTH, AHEAD, 2) is back
    back.health.record_success(trio.current_time())
    requests.dispatcher.reconsider()
    await wait_all_tasks_blocked()
    assert requests.peers["waits"] is back


async def test_an_offer_changes_nothing_until_it_is_taken() -> None:
    """Who was offered a share and does not want it leaves no trace."""
    peers = peers_of(8)
    dispatcher = Dispatcher(99)
    assert dispatcher.offer(peers, LENGTH, AHEAD, 2) is peers[0]
    assert (dispatcher.statistics().bodies, dispatcher.statistics().granted) == (0, 0)
    dispatcher.take(peers[0])
    dispatcher.take(peers[0])
    assert dispatcher.offer(peers, LENGTH, AHEAD, 2) is None
    assert dispatcher.statistics().most_bodies == 2


async def test_another_share_must_be_up_and_have_room() -> None:
    """For what one share does not bring, none is asked that might not bring it either."""
    first, second = peers_of(1, 1)
    dispatcher = Dispatcher(2)
    fail(first)
    assert dispatcher.lease_other((first,), LENGTH) is None
    assert dispatcher.lease_other((first, second), LENGTH) is second
    assert dispatcher.lease_other((first, second), LENGTH) is None
    (third, fourth) = peers_of(1, 1)
    assert dispatcher.lease_other((third,), LENGTH) is third
    assert dispatcher.lease_other((fourth,), LENGTH) is None  # no more bodies than two
    assert dispatcher.statistics().bodies == 2


async def test_what_is_hungry_is_fed_once_when_something_ends() -> None:
    """Called once for each time it asked; the load with the fewest requests first."""
    peers = peers_of(3)
    dispatcher = Dispatcher(8)
    fed: list[str] = []
    pumps = {label: partial(fed.append, label) for label in ("huge", "small")}
    for peer in peers * 2:
        dispatcher.take(peer)
    for _ in range(2):
        dispatcher.feed_later(pumps["huge"], lambda: 30)
        dispatcher.feed_later(pumps["small"], lambda: 2)
    assert fed == []
    dispatcher.release(peers[0])
    dispatcher.release(peers[0])
    assert fed == ["small", "huge"]


async def test_who_waits_is_served_before_what_is_hungry(nursery: trio.Nursery) -> None:
    """Read-ahead looks only at what is left."""
    peers = peers_of(1)
    requests = Requests(Dispatcher(99), nursery)
    await requests.ask("running", peers)
    await requests.ask("waits", peers)
    offers: list[Peer | None] = []

    def pump() -> None:
        offers.append(requests.dispatcher.offer(peers, LENGTH, AHEAD, 8))

    requests.dispatcher.feed_later(pump, lambda: 0)
    await requests.end("running")
    assert requests.granted == ["running", "waits"]
    assert offers == [None]


async def test_hungry_again_while_it_is_fed() -> None:
    """A pump that finds nothing asks to be called again, and is: no sooner than something has ended."""
    (peer,) = peers_of(3)
    dispatcher = Dispatcher(8)
    calls = 0

    def pump() -> None:
        nonlocal calls
        calls += 1
        dispatcher.feed_later(pump, lambda: 0)

    dispatcher.take(peer)
    dispatcher.take(peer)
    dispatcher.feed_later(pump, lambda: 0)
    dispatcher.release(peer)
    assert calls == 1
    dispatcher.release(peer)
    assert calls == 2


@given(
    most=st.integers(1, 12),
    rooms=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    steps=st.lists(st.tuples(st.sampled_from("arcfu"), st.integers(0, 99)), max_size=40),
)
def test_whatever_is_asked_and_cancelled_the_counts_are_right(
    most: int, rooms: list[int], steps: list[tuple[str, int]]
) -> None:
    """Never more bodies than allowed, of a share or in all; nobody waits for nothing; at the end none."""

    async def script() -> None:
        peers = peers_of(*rooms)
        dispatcher = Dispatcher(most)
        async with trio.open_nursery() as nursery:
            requests = Requests(dispatcher, nursery)
            for turn, (step, number) in enumerate(steps):
                labels = sorted(requests.peers)
                if step == "a":
                    able = peers[number % len(peers) :]
                    await requests.ask(f"{turn}", able, Urgency(number % 3), number % 5)
                elif step == "r" and labels:
                    await requests.end(labels[number % len(labels)])
                elif step == "c" and requests.scopes:
                    list(requests.scopes.values())[number % len(requests.scopes)].cancel()
                elif step == "f":
                    fail(peers[number % len(peers)])
                elif step == "u":
                    dispatcher.reconsider()
                await wait_all_tasks_blocked()
                assert_sound(requests, peers, rooms, most)
            nursery.cancel_scope.cancel()
        for peer in requests.peers.values():
            dispatcher.release(peer)
        assert (dispatcher.statistics().bodies, dispatcher.statistics().waiting) == (0, 0)
        assert [peer.bodies for peer in peers] == [0] * len(peers)

    trio.run(script)


def assert_sound(requests: Requests, peers: tuple[Peer, ...], rooms: list[int], most: int) -> None:
    found = requests.dispatcher.statistics()
    assert found.bodies == sum(peer.bodies for peer in peers) == len(requests.peers)
    assert found.bodies <= found.most_bodies <= most
    assert all(peer.bodies <= room for peer, room in zip(peers, rooms, strict=True))
    if found.bodies == 0:
        assert found.waiting == 0
