"""What ``status --watch`` shows at any size, of made-up answers of a node."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from blobfs.cli.watch_poll import Seen
from blobfs.cli.watch_table import keep_end
from blobfs.cli.watch_view import allot, view
from tests.cli.statuses import bucket, dead_share, failure, share, space, status, transfer

MIB = 1 << 20
HISTORY = [bucket(8.0, 4 * MIB), bucket(3.0, 4 * MIB)]
BUSY = status(
    transfers=[transfer(f"models/part-{number:02}", size=(number + 1) * 4 * MIB) for number in range(20)],
    shares=[share("http://a:8001/", history=HISTORY), dead_share()],
    failures=[failure(f"models/lost-{number}") for number in range(9)],
)


def drawn(*nodes: Seen, width: int = 120, height: int | None = 40, now: float = 0.0) -> list[str]:
    """Its lines, as a terminal of that size has them."""
    console = Console(width=width, height=height or 200, color_system=None, force_terminal=True)
    with console.capture() as captured:
        console.print(view(nodes, now, width, height))
    return [line.rstrip() for line in captured.get().splitlines()]


def seen(found: dict = BUSY, **changes: object) -> Seen:
    return Seen(**{"mountpoint": found["mountpoint"], "status": found, "answered": 0.0, **changes})


def test_all_there_is() -> None:
    """Head, transfers, shares, failures; a row each."""
    lines = drawn(seen(), height=None)
    assert lines[0].startswith("/mnt/models  ready for 3 h, pid 17, serves 127.0.0.1:8970")
    assert lines[0].endswith("10.0 MiB/s in")
    assert lines[1].endswith("60% 6.0 of 10.0 GiB quota, 50.0 GiB free on the disk")
    assert "TRANSFERS  20 loading" in lines
    assert "SHARES  1 up, 1 down" in lines
    assert sum(line.startswith("models/part-") for line in lines) == 20
    assert sum("lost-" in line for line in lines) == 9
    (first,) = [line for line in lines if line.startswith("models/part-00")]
    for word in ("25%", "of 4.0 MiB", "512.0 KiB/s", "6 s", "a:8001 60%, b:8001/x 40%"):
        assert word in first
    (up,) = [line for line in lines if line.startswith("a:8001 ")]
    for word in ("up", "1.5 ms", "1.0 MiB/s", "▁█", "7.0 MiB so far"):
        assert word in up
    (down,) = [line for line in lines if line.startswith("dead:1 ")]
    assert down.endswith("failed 3 s ago: connection refused (blob)")


def test_more_than_there_are_lines() -> None:
    """The largest transfers stay, in their order, and the others are counted."""
    lines = drawn(seen(), height=24)
    assert len(lines) == 24
    named = [line.split()[0] for line in lines if line.startswith("models/part-")]
    assert named == sorted(named)
    assert named[-1] == "models/part-19"
    (rest,) = [line for line in lines if "to come" in line]
    assert rest.startswith(f" and {20 - len(named)} more, ")
    assert any(line.startswith("dead:1 ") for line in lines)
    failures = sum("models/lost-" in line for line in lines)
    assert lines[-1] == f" and {9 - failures} more"


@given(st.integers(20, 200), st.integers(2, 60))
def test_it_fits(width: int, height: int) -> None:
    """At any size: no line is broken, and there are no more than the terminal has."""
    lines = drawn(seen(), width=width, height=height)
    assert max(map(cell_len, lines)) <= width
    assert len(lines) <= max(height, 5)  # the screen cuts what is below; the head stands first
    assert width < 40 or lines[0].startswith("/mnt/models")


def test_nothing_happens() -> None:
    """That is said."""
    lines = drawn(seen(status(space=space(quota=None))))
    assert "TRANSFERS  nothing is being loaded" in lines
    assert "SHARES  none" in lines
    assert not any("FAILURES" in line for line in lines)


def test_a_node_that_does_not_answer() -> None:
    """For how long, and why; with what it said last, if it ever did."""
    lines = drawn(seen(trouble="refused"), now=12.0)
    assert "no answer for 12 s; below is what it said last (refused)" in lines
    assert any(line.startswith("models/part-19") for line in lines)
    assert "no answer for 3 s; below is what it said last" in drawn(seen(), now=3.0)
    assert drawn(Seen("/mnt/x", trouble="refused"), now=12.0) == ["/mnt/x", "no answer for 12 s (refused)"]


def test_several_nodes() -> None:
    """Each has its part of the terminal; those that have none are counted."""
    nodes = [seen(status(mountpoint=f"/mnt/{number}")) for number in range(7)]
    lines = drawn(*nodes, height=24)
    assert [line.split()[0] for line in lines if line.startswith("/mnt/")] == ["/mnt/0", "/mnt/1", "/mnt/2"]
    assert "and 4 more mounts" in lines
    assert drawn() == ["no blobfs is mounted; q ends"]


@pytest.mark.parametrize("evil", ["a\x1b[2J\nb\u202e", "[red]x[/red]", "[/]", "漢字" * 100])
def test_names_from_anywhere(evil: str) -> None:
    """They are text: no terminal obeys them, and they are no markup."""
    found = status(
        mountpoint=evil,
        transfers=[transfer(evil, last_error=evil)],
        failures=[failure(evil, message=evil)],
        shares=[share(f"http://{evil}/", struck_for=evil)],
    )
    lines = drawn(seen(found), seen(found, trouble=evil), width=120)
    assert all(line.isprintable() for line in lines)
    assert max(map(cell_len, lines)) <= 120
    if len(evil) < 20:
        assert any(evil.replace("\x1b", "\\x1b").replace("\n", "\\n")[:4] in line for line in lines)


@given(st.integers(-5, 50), st.lists(st.integers(0, 30), max_size=4))
def test_lines_are_shared_out(rows: int, needs: list[int]) -> None:
    """Nobody has more than he needs, nothing is left while somebody needs it, and all have their turn."""
    given_rows = allot(rows, needs)
    assert all(got <= need for got, need in zip(given_rows, needs, strict=True))
    assert sum(given_rows) == min(max(rows, 0), sum(needs))
    unmet = [got for got, need in zip(given_rows, needs, strict=True) if got < need]
    assert not unmet or max(given_rows) - min(unmet) <= 1


@given(st.text(max_size=30), st.integers(2, 20))
def test_the_end_of_a_path(text: str, width: int) -> None:
    """Is what stays of it."""
    kept = keep_end(text, width)
    assert cell_len(kept) <= width
    assert kept == text or (kept[0] == "…" and text.endswith(kept[1:]))
