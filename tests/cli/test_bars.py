"""How far something is: what a bar says, and where it comes from."""

import sys
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from blobfs.cli import bars
from blobfs.cli.bars import Bar, Speed, drawing
from blobfs.cli.load_progress import Deliveries, Totals
from blobfs.errors import StartRefused
from tests.mount.programs import on_terminal
from tests.structure import ROOT

MIB = 1 << 20


@dataclass
class Work:
    """Half of it was here before."""

    length: int = 4 * MIB
    position: int = 2 * MIB
    moved: int = 0


def test_the_rate_is_that_of_late() -> None:
    """What was long ago does not count, and at the first look nothing can be said."""
    speed = Speed()
    speed.note(0.0, 0)
    assert speed.rate is None
    speed.note(1.0, 1000)
    assert speed.rate == 1000
    for second in range(2, 30):
        speed.note(float(second), 1000 + 10 * second)
    assert speed.rate == 10


def test_what_was_here_before_took_no_time() -> None:
    """Rate and time left are those of what the work has brought."""
    work = Work()
    bar = Bar("loading", work, lambda: "a text", lambda: "http://a/ 1.0 MiB/s")
    bar.note(10.0)
    assert bar.line() == "loading 50%: a text"
    work.position, work.moved = 3 * MIB, MIB
    bar.note(14.0)
    assert bar.line() == "loading 75%: a text, 256.0 KiB/s, 4 s left, from http://a/ 1.0 MiB/s"
    work.position = work.length
    assert bar.line() == "loading 100%: a text"


def test_nothing_moves() -> None:
    """No end can be told then."""
    bar = Bar("loading", Work(), lambda: "a text")
    bar.note(0.0)
    bar.note(1.0)
    assert bar.details() == "0 bytes/s"


def test_without_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A line now and then, and one at the end; nothing unless it is wanted."""
    now = 100.0
    monkeypatch.setattr(bars, "time", SimpleNamespace(monotonic=lambda: now))
    work = Work(position=0)
    with drawing(Bar("hashing", work, lambda: f"at {work.position}"), is_shown=True) as draw:
        for work.position in range(100):
            now += 0.125
            draw()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("hashing 0%: at 39")
    assert lines[-1].startswith("hashing 0%: at 99")
    assert len(lines) == 3  # after 5 and 10 seconds, and at the end
    with drawing(Bar("hashing", work, lambda: "never"), is_shown=False) as draw:
        draw()
    assert capsys.readouterr().err == ""


DRAW = """
import sys
from blobfs.cli.bars import Bar, drawing
class Work:
    length, position, moved = 100, 30, 0
with drawing(Bar("loading", Work, lambda: "30 of 100 [bold]x"), is_shown=True) as draw:
    Work.position = 100
print("done")
"""


def test_on_a_terminal() -> None:
    """It is drawn to its end; what looks like markup is text, and the cursor is there again."""
    shown, out = on_terminal(
        sys.executable, "-c", DRAW, env={"PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "80"}
    )
    assert out == "done\n"
    assert " 30%  30 of 100 [bold]x" in shown
    assert "100%  30 of 100 [bold]x" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


def test_totals_of_all_names() -> None:
    """A name that is done counts whole, one that failed not at all; what came is not what was there."""
    totals = Totals()
    totals.note("a", {"state": "loading", "blobs": 1, "bytes": 10, "total_blobs": 3, "total_bytes": 50,
                      "loaded_bytes": 5})  # fmt: skip
    totals.note("b", {"state": "done", "blobs": 2, "bytes": 20, "loaded_bytes": 0})
    totals.note("c", {"state": "failed", "error": "no share has it"})
    assert (totals.position, totals.length, totals.moved) == (33, 75, 5)
    assert str(totals) == "3 of 5 blobs, 30 bytes of 70 bytes"


class FakeNode:
    """Its shares have delivered so much."""

    def __init__(self, **received: int) -> None:
        self.received, self.looks, self.is_gone = received, 0, False

    def fetch(self) -> dict:
        self.looks += 1
        if self.is_gone:
            raise StartRefused("gone")
        return {"shares": [{"url": url, "received": number} for url, number in self.received.items()]}


def test_which_shares_deliver() -> None:
    """By what they sent since the last look, the fastest first; one look a second, whoever asks."""
    node, now = FakeNode(a=MIB, b=0, c=0, d=0, e=0), 50.0
    deliveries = Deliveries(node.fetch, lambda: now)
    assert str(deliveries) == ""
    now = 50.5
    assert (str(deliveries), node.looks) == ("", 1)
    now = 52.0
    node.received.update(b=4 * MIB, c=MIB, d=2 * MIB, e=3 * MIB)
    assert str(deliveries) == "b 2.0 MiB/s, e 1.5 MiB/s, d 1.0 MiB/s, 1 more"
    now = 53.0
    assert str(deliveries) == ""


def test_the_node_goes_away() -> None:
    """No share is named then, and it is no failure of the bar."""
    node, now = FakeNode(a=0), 50.0
    deliveries = Deliveries(node.fetch, lambda: now)
    assert str(deliveries) == ""
    node.is_gone, now = True, 51.0
    assert str(deliveries) == ""


def test_nothing_to_do() -> None:
    """That is all done at the end, and not before: it may be unknown how much there is."""
    bar = Bar("loading", Work(length=0, position=0), lambda: "a text")
    assert bar.percent == 0
    with drawing(bar, is_shown=True):
        assert bar.percent == 0
    assert bar.percent == 100
