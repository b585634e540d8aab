"""Which share is asked next: a pure function of what is known of the shares."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blobfs.shares.choice import (
    FIRST_SPAN,
    SLOW_FACTOR,
    SLOW_FROM,
    SPAN_SECONDS,
    ShareView,
    Urgency,
    choose,
    choose_other,
    is_slow,
    rank,
    span_length,
)
from blobfs.shares.health import Circuit

MIB = 2**20
READER, AHEAD, FILL = Urgency
CLOSED, HALF_OPEN, OPEN = Circuit.CLOSED, Circuit.HALF_OPEN, Circuit.OPEN

LENGTHS = st.integers(1, 64 * MIB)
RATES = st.floats(1, 1e10)
URGENCIES = st.sampled_from(Urgency)
VIEWS = st.builds(
    ShareView,
    circuit=st.sampled_from(Circuit),
    group=st.integers(1, 3),
    is_struck=st.booleans(),
    in_flight=st.integers(0, 9),
    room=st.integers(-2, 8),
    latency=st.floats(0, 10),
    rate=st.none() | RATES,
)
KNOWN = st.builds(replace, VIEWS, rate=RATES)
SEVERAL = st.lists(VIEWS, min_size=1, max_size=6)


def view(rate: float | None = 10 * MIB, **known: object) -> ShareView:
    """A share that is up and free."""
    return replace(ShareView(room=8, rate=rate), **known)  # type: ignore[arg-type]


def spread(views: list[ShareView], requests: int, length: int) -> list[int]:
    """How many of so many requests, none of which ends, each share is given."""
    for _ in range(requests):
        chosen = choose(views, length, READER)
        if chosen is None:
            break
        given_one = views[chosen]
        views[chosen] = replace(given_one, in_flight=given_one.in_flight + 1, room=given_one.room - 1)
    return [view.in_flight for view in views]


def test_nobody_to_ask() -> None:
    """Without shares there is no choice."""
    assert choose([], 1, READER) is None
    assert choose_other([], 1) is None


def test_shares_that_answer_go_before_those_that_do_not() -> None:
    """Up, perhaps up again, down; whatever they could send."""
    slow, down, back = view(1.0), view(circuit=OPEN), view(circuit=HALF_OPEN, room=1)
    assert choose([down, back, slow], MIB, READER) == 2
    assert choose([down, back], MIB, READER) == 1
    assert choose([down], MIB, READER) == 0


def test_wrong_bytes_make_a_share_the_last_resort() -> None:
    """Behind one that is down: that one may be right. With nobody else it is asked."""
    struck = view(is_struck=True)
    assert choose([struck, view(circuit=OPEN)], MIB, READER) == 1
    assert choose([struck, view(group=9)], MIB, FILL) == 1
    assert choose([struck], MIB, READER) == 0


def test_every_share_of_a_group_goes_before_the_next_group() -> None:
    """Group 2 is not a relief for a busy group 1; it is asked when nobody in group 1 is up."""
    busy, idle = view(room=0, in_flight=8), view(1000 * MIB, group=2)
    assert choose([busy, idle], MIB, READER) is None
    assert choose([replace(busy, circuit=OPEN), idle], MIB, READER) == 1


def test_the_one_that_will_have_delivered_first_is_asked() -> None:
    """Latency, rate and what it was given already count together."""
    near, far = view(MIB, latency=0.01), view(100 * MIB, latency=0.5)
    assert choose([near, far], 1024, READER) == 0
    assert choose([near, far], 8 * MIB, READER) == 1
    assert choose([view(in_flight=1), view()], MIB, READER) == 1


def test_requests_are_spread_by_rate() -> None:
    """Equal shares get equally many, one that is three times faster three times as many."""
    assert spread([view(), view(), view(), view()], 16, 8 * MIB) == [4, 4, 4, 4]
    fast = replace(view(30 * MIB), room=20)
    assert spread([view(), fast], 20, 32 * MIB) == [5, 15]


def test_a_slow_share_stays_idle_where_waiting_is_quicker() -> None:
    """The fast one has no room: it will still have delivered sooner."""
    fast, slow = view(100 * MIB, room=0, in_flight=8), view(MIB)
    assert choose([fast, slow], 8 * MIB, READER) is None
    assert choose([replace(fast, rate=2 * MIB), slow], 8 * MIB, READER) == 1


def test_an_unknown_rate_is_worth_a_try() -> None:
    """It is believed to be as good as the best one's, so nobody stays unknown."""
    known = view(500 * MIB, in_flight=1)
    assert choose([known, view(None)], 8 * MIB, READER) == 1
    assert spread([view(None), view(None)], 6, MIB) == [3, 3]


@pytest.mark.parametrize("urgency", [AHEAD, FILL])
def test_what_nobody_waits_for_tries_a_share_that_may_be_back(urgency: Urgency) -> None:
    """One request that tells; a reader is not made to wait for it."""
    views = [view(), view(circuit=HALF_OPEN, room=1)]
    assert choose(views, MIB, urgency) == 1
    assert choose(views, MIB, READER) == 0
    tried = [view(), view(circuit=HALF_OPEN, room=0, in_flight=1)]
    assert choose(tried, MIB, urgency) == 0


def test_only_a_share_that_would_be_asked_is_tried() -> None:
    """Not one that is known for wrong bytes, nor one of a later group."""
    for other in view(circuit=HALF_OPEN, is_struck=True), view(circuit=HALF_OPEN, group=2):
        assert choose([view(), other], MIB, FILL) == 0
    assert choose([view(circuit=OPEN), view(circuit=HALF_OPEN, group=2)], MIB, FILL) == 1


@given(SEVERAL, LENGTHS, URGENCIES)
def test_the_chosen_one_has_room(views: list[ShareView], length: int, urgency: Urgency) -> None:
    """No share is given more than it may have."""
    chosen = choose(views, length, urgency)
    assert chosen is None or views[chosen].room > 0
    other = choose_other(views, length)
    assert other is None or views[other].room > 0


@given(SEVERAL, LENGTHS, URGENCIES)
def test_none_of_a_worse_rank_is_chosen(views: list[ShareView], length: int, urgency: Urgency) -> None:
    """Rules 1 and 2 come before any speed; the one exception is the request that finds out who is back."""
    chosen = choose(views, length, urgency)
    if chosen is not None and rank(views[chosen]) != min(map(rank, views)):
        tried = views[chosen]
        assert urgency is not READER
        assert (tried.circuit, tried.in_flight, tried.is_struck) == (HALF_OPEN, 0, False)
        assert tried.group <= min(map(rank, views))[1]


@given(SEVERAL, LENGTHS, URGENCIES, st.data())
def test_more_under_way_makes_no_share_more_attractive(
    views: list[ShareView], length: int, urgency: Urgency, data: st.DataObject
) -> None:
    """Who was not chosen is not chosen for having more to do."""
    index = data.draw(st.integers(0, len(views) - 1))
    before = choose(views, length, urgency)
    loaded = replace(views[index], in_flight=views[index].in_flight + 1, room=views[index].room - 1)
    after = choose([*views[:index], loaded, *views[index + 1 :]], length, urgency)
    assert before == index or after != index


@given(st.lists(KNOWN, min_size=1, max_size=6), LENGTHS, URGENCIES, st.floats(1, 1000))
def test_a_higher_rate_makes_no_share_less_attractive(
    views: list[ShareView], length: int, urgency: Urgency, factor: float
) -> None:
    """The chosen one stays it when it is faster than was believed."""
    chosen = choose(views, length, urgency)
    if chosen is not None:
        rate = views[chosen].rate
        assert rate is not None
        views[chosen] = replace(views[chosen], rate=rate * factor)
        assert choose(views, length, urgency) == chosen


@given(SEVERAL, LENGTHS)
def test_another_share_is_one_that_is_up_and_free(views: list[ShareView], length: int) -> None:
    """Asking twice is for getting the bytes sooner: a share in doubt is no help."""
    chosen = choose_other(views, length)
    able = [view for view in views if view.room > 0 and view.circuit is CLOSED and not view.is_struck]
    if chosen is None:
        assert not able
        return
    assert views[chosen] in able
    assert views[chosen].group == min(view.group for view in able)
    peers = [view for view in able if view.group == views[chosen].group]
    assert views[chosen].seconds(length) == min(view.seconds(length) for view in peers)


@given(VIEWS, st.integers(1, MIB), st.integers(MIB, 64 * MIB))
def test_a_request_takes_a_quarter_of_a_second(known: ShareView, least: int, most: int) -> None:
    """Within its limits, however fast or slow the share is; short while that is unknown."""
    length = span_length(known, least, most)
    assert least <= length <= most
    wanted = FIRST_SPAN if known.rate is None else known.rate * SPAN_SECONDS
    assert length == int(wanted) or (length == least and wanted < least) or (length == most and wanted > most)


def test_a_request_is_too_slow_only_by_far() -> None:
    """Moving costs a round trip: half a second is forgiven, and four times what another one would need."""
    other = view(8 * MIB, latency=0.0)
    assert other.seconds(8 * MIB) == 1.0
    limit = SLOW_FROM + SLOW_FACTOR * 1.0
    assert not is_slow(SLOW_FROM - 0.001, 0, 8 * MIB, other)
    assert is_slow(SLOW_FROM, 0, 8 * MIB, other)
    assert not is_slow(limit, 8 * MIB, 8 * MIB, other)
    assert is_slow(limit + 0.01, 8 * MIB, 8 * MIB, other)
    busy = replace(other, in_flight=1)
    assert not is_slow(limit + 0.01, 8 * MIB, 8 * MIB, busy)


@given(st.floats(0, 1e4), st.integers(0, 2**40), LENGTHS, VIEWS)
def test_what_is_too_slow_stays_so_with_more_time_and_fewer_bytes(
    elapsed: float, received: int, left: int, other: ShareView
) -> None:
    """The judgement depends on the pace only."""
    if is_slow(elapsed, received, left, other):
        assert is_slow(elapsed * 2, received, left, other)
        assert is_slow(elapsed, received // 2, left, other)
