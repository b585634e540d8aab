"""A directory that is walked through."""

import random

import trio
from hypothesis import given
from hypothesis import strategies as st

from blobfs.sync.naming import browsing
from blobfs.sync.naming.browsing import in_order


@given(st.lists(st.text("abc", max_size=4), unique=True), st.integers(1, 7))
def test_names_are_in_order_however_they_are_cut(names: list[str], run: int) -> None:
    """What is put in order in slices is in the order of the whole."""
    before, browsing.RUN = browsing.RUN, run
    try:
        assert trio.run(in_order, names) == sorted(names)
    finally:
        browsing.RUN = before


async def test_others_have_their_turn() -> None:
    """In between: at least one for each slice, of the cutting and of the putting together."""
    names = [f"{number:06}" for number in range(10 * browsing.RUN)]
    random.Random(1).shuffle(names)
    turns = 0
    async with trio.open_nursery() as nursery:

        async def count() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        nursery.start_soon(count)
        assert await in_order(names) == sorted(names)
        nursery.cancel_scope.cancel()
    assert turns >= 18
