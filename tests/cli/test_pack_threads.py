"""Work that is done by several threads."""

import threading

import pytest

from blobfs.cli.pack_threads import Hand, Left, run_all

SECONDS = 20


def nothing() -> None:
    """What is drawn when nobody looks."""


@pytest.mark.parametrize("threads", [1, 3, 50])
def test_everything_is_done_once(threads: int) -> None:
    """By however many threads."""
    done: list[int] = []
    run_all(range(20), lambda item, hand: done.append(item), threads, nothing)
    assert sorted(done) == list(range(20))


def test_nothing_to_do() -> None:
    """No item, no thread."""
    before = threading.active_count()
    run_all([], lambda item, hand: None, 3, nothing)
    assert threading.active_count() == before


def test_the_first_failure_ends_it() -> None:
    """It is raised; what has not begun is not begun, and what is under way is left."""
    others, begun = threading.Barrier(3), []

    def work(item: int, hand: Hand) -> None:
        begun.append(item)
        others.wait(SECONDS)
        if item == 1:
            raise ValueError(item)
        while True:
            hand.go_on()

    with pytest.raises(ValueError, match="1"):
        run_all(range(20), work, 3, nothing)
    assert sorted(begun) == [0, 1, 2]


def test_an_interrupt_ends_it() -> None:
    """Ctrl-C comes to the main thread, which only waits; the others leave what they are at."""
    left = []

    def work(item: int, hand: Hand) -> None:
        try:
            while True:
                hand.go_on()
        except Left:
            left.append(item)
            raise

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_all(range(20), work, 3, interrupt)
    assert sorted(left) == [0, 1, 2]


def test_what_is_drawn_is_drawn_at_the_end() -> None:
    """The last look comes after the last item."""
    done: list[int] = []
    seen: list[int] = []
    run_all(range(5), lambda item, hand: done.append(item), 2, lambda: seen.append(len(done)))
    assert seen[-1] == 5
