"""The arithmetic of tools/bench-loads, and its tap: figures are only worth what these are."""

import os
import socket
import subprocess
import threading
import time

import pytest

from tests.structure import ROOT
from tools.benchmarks.__main__ import SCENARIOS
from tools.benchmarks.measuring import alternate, median, percentile, ratio, spread
from tools.benchmarks.probe import read_probe
from tools.benchmarks.report import Table
from tools.benchmarks.tap import Tap
from tools.benchmarks.usage import Usage

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n" + b"x" * 60


def test_ways_take_turns() -> None:
    """A B A B: what the machine does meanwhile strikes both."""
    order: list[str] = []

    def go(way: str) -> dict[str, float]:
        order.append(way)
        return {"seconds": len(order)}

    found = alternate(2, {"a": lambda: go("a"), "b": lambda: go("b")})
    assert order == ["a", "b", "a", "b"]
    assert found == {"a": [{"seconds": 1}, {"seconds": 3}], "b": [{"seconds": 2}, {"seconds": 4}]}


def test_ratio_is_taken_turn_by_turn() -> None:
    """A machine that is ten times slower in one turn changes the medians, not the ratio."""
    a = [{"seconds": 1.0}, {"seconds": 10.0}, {"seconds": 100.0}]
    b = [{"seconds": 2.0}, {"seconds": 20.0}, {"seconds": 200.0}]
    assert ratio(b, a) == 2
    assert median(a) == 10


def test_spread_is_the_least_and_the_most() -> None:
    """Of all turns, whatever their order."""
    assert spread([{"seconds": 2.0}, {"seconds": 10.0}, {"seconds": 0.5}]) == "0.5–10"


def test_what_a_program_has_used_includes_what_it_has_started() -> None:
    """The memory of a program counts for the one that started it, as long as it runs."""
    before = Usage.of(os.getpid())
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            alone = Usage.of(child.pid)
            assert Usage.of(os.getpid()).peak >= before.peak + alone.peak > before.peak
        finally:
            child.kill()


@pytest.mark.parametrize(("percent", "expected"), [(50, 2), (75, 3), (99, 4), (1, 1)])
def test_percentile(percent: int, expected: float) -> None:
    """The smallest value that so many percent do not exceed."""
    assert percentile([4, 1, 3, 2], percent) == expected


def test_figures_stand_below_each_other() -> None:
    """Text to the left, figures to the right with three digits, a dash for none."""
    table = Table("way", "s", "requests")
    table.add("one", 0.012345, 12345)
    table.add("another", 1234.5, None)
    assert str(table).splitlines() == [
        "way           s  requests",
        "one      0.0123    12,345",
        "another   1,234         –",
    ]


def test_a_call_that_never_returned_counts() -> None:
    """The last call of a probe that was cut short has taken as long as it was waited for."""
    assert read_probe("begun 1.0\n0.5\n") == ([0.5], False)
    (first, last), is_cut = read_probe(f"begun 1.0\n0.5\nbegun {time.monotonic() - 7}\n")
    assert (first, is_cut) == (0.5, True)
    assert last >= 7


def test_tap_stops_where_it_is_told() -> None:
    """So many bytes of each answer to the paths that are meant, everything of all others."""
    with socket.create_server(("127.0.0.1", 0)) as share:
        threading.Thread(target=_answer_two, args=[share], daemon=True).start()
        with (
            Tap(share.getsockname()[1], stall_after=50, only="/slow") as tap,
            socket.create_connection(("127.0.0.1", tap.port), 10) as client,
        ):
            client.sendall(b"GET /fast HTTP/1.1\r\n\r\n")
            assert _receive(client, len(ANSWER)) == ANSWER
            client.sendall(b"GET /slow HTTP/1.1\r\n\r\n")
            assert _receive(client, 50) == ANSWER[:50]
            client.settimeout(0.1)
            with pytest.raises(TimeoutError):
                client.recv(1)


def test_tap_is_as_far_away_as_it_is_told() -> None:
    """A handshake, a request and its answer take two round trips at least, and bring what was sent."""
    with socket.create_server(("127.0.0.1", 0)) as share:
        threading.Thread(target=_answer_two, args=[share], daemon=True).start()
        with Tap(share.getsockname()[1], delay=0.01) as tap:
            began = time.monotonic()
            with socket.create_connection(("127.0.0.1", tap.port), 10) as client:
                client.sendall(b"GET / HTTP/1.1\r\n\r\n")
                assert _receive(client, len(ANSWER)) == ANSWER
            assert time.monotonic() - began >= 0.04


def _answer_two(share: socket.socket) -> None:
    connection, _ = share.accept()
    with connection:
        for _ in range(2):
            connection.recv(4096)
            connection.sendall(ANSWER)
        connection.recv(1)


def _receive(client: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        received += client.recv(size - len(received))
    return received


def test_every_scenario_is_described() -> None:
    """docs/benchmarks.md has a paragraph for each."""
    text = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")
    assert [name for name in SCENARIOS if f"**{name}**" not in text] == []
