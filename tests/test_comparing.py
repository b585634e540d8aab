"""tools/bench: turns, ratios, goals, the report; and one short real run, so that it is known to work."""

import dataclasses
import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.structure import ROOT
from tools.benchmarks.running import Failed
from tools.benchmarks.workbench import Workbench
from tools.comparing.catalogue import WORKLOADS
from tools.comparing.comparison import EXPENSIVE_SECONDS, Comparison, Noted, WrongBytes, in_turn, in_words
from tools.comparing.goals import GOALS, Goal, Verdict, judge
from tools.comparing.reading import program
from tools.comparing.report.machine import dump, load
from tools.comparing.report.markdown import page
from tools.comparing.report.panels import SHOWN, panels
from tools.comparing.results import Findings, PeerNote, Result, find, ratio

BLOCK = 4096
GOAL = Goal("as fast as the disk", "w", "warm", "ext4", 0.9)
MOST = Goal("few requests", "w", "warm", "", 2, is_most=True, unit="requests")


def result(peer: str, *values: float, unit: str = "s", failure: str = "", case: str = "warm") -> Result:
    return Result("w", case, peer, unit, values, failure)


def found(*results: Result) -> Findings:
    peers = (PeerNote("blobfs", "1", "as it is"), PeerNote("absent", None, "never"))
    return Findings("abc", "2026-01-01", "a machine", False, 3, peers, results)


@pytest.fixture
def three_turns(tmp_path: Path) -> Comparison:
    return Comparison(Workbench(tmp_path, 3, True))


# Turns


def test_another_peer_begins_every_turn() -> None:
    """Case by case in their order; in each the peers rotate."""
    ways = [("cold", "a"), ("cold", "b"), ("warm", "a"), ("warm", "b")]
    assert in_turn(ways, 0) == ways
    assert in_turn(ways, 1) == [("cold", "b"), ("cold", "a"), ("warm", "b"), ("warm", "a")]
    assert in_turn(ways, 2) == ways


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (WrongBytes("content"), "wrong bytes: content"),
        (Failed("reader /x: exit code 1\nTraceback\nOSError: no"), "OSError: no"),
        (OSError("/tmp/some/where/mnt/small/1: gone"), "MOUNT/small/1: gone"),
        (Failed(""), "Failed"),
    ],
)
def test_a_failure_is_told_in_one_line(failure: Exception, told: str) -> None:
    """Without the command, the traceback and a path that is another one in every run."""
    assert in_words(failure) == told


def test_who_fails_is_left_out_and_the_others_go_on(three_turns: Comparison) -> None:
    """What it had brought until then stays, and the reason stands beside it."""
    order: list[str] = []

    def go(peer: str, fails_at: int) -> float:
        order.append(peer)
        if order.count(peer) == fails_at:
            raise WrongBytes("content")
        return float(order.count(peer))

    ways: dict[tuple[str, str], Callable[[], float]] = {
        ("warm", "good"): lambda: go("good", 0),
        ("warm", "bad"): lambda: go("bad", 2),
    }
    good, bad = three_turns.alternate("w", ways)
    assert good.values == (1.0, 2.0, 3.0)
    assert (bad.values, bad.failure) == ((1.0,), "wrong bytes: content")
    assert order == ["good", "bad", "bad", "good", "good"]


def test_who_is_hopelessly_slow_goes_once(three_turns: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no failure: there is a figure."""
    clock = iter([0.0, EXPENSIVE_SECONDS + 1])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    (slow,) = three_turns.alternate("w", {("warm", "slow"): lambda: 99.0})
    assert (slow.values, slow.failure) == ((99.0,), "")


def test_a_mistake_of_a_workload_is_not_taken_for_a_failure(three_turns: Comparison) -> None:
    """Only what a peer can do is told; the rest is raised."""
    with pytest.raises(KeyError):
        three_turns.alternate("w", {("warm", "a"): lambda: dict[str, float]()["x"]})


def test_figures_found_on_the_way_become_results() -> None:
    """One for each case, peer and unit, a value a turn."""
    noted = Noted("w")
    noted.note("missing", "a", 3, "requests")
    noted.note("missing", "a", 5, "requests")
    noted.note("missing", "a", 0.1, "MB")
    assert noted.results() == [
        Result("w", "missing", "a", "requests", (3, 5)),
        Result("w", "missing", "a", "MB", (0.1,)),
    ]


# Ratios and goals


def test_ratio_is_taken_turn_by_turn() -> None:
    """A turn that was slow for all changes nothing; one that a peer did not live to see does not count."""
    assert ratio(result("a", 2, 20, 200), result("b", 1, 10, 100)) == 2
    assert ratio(result("a", 2), result("b", 1, 10, 100)) == 2
    assert ratio(result("a"), result("b", 1)) is None
    assert ratio(None, result("b", 1)) is None


@pytest.mark.parametrize(
    ("results", "goal", "measured", "verdict"),
    [
        ([result("blobfs", 1.0), result("ext4", 0.95)], GOAL, 0.95, Verdict.MET),
        ([result("blobfs", 1.0), result("ext4", 0.5)], GOAL, 0.5, Verdict.MISSED),
        ([result("ext4", 0.5)], GOAL, None, Verdict.UNKNOWN),
        ([result("blobfs", 1.0), result("ext4", failure="crashed")], GOAL, None, Verdict.UNKNOWN),
        ([result("blobfs", failure="hung"), result("ext4", 1.0)], GOAL, None, Verdict.MISSED),
        ([result("blobfs", 2.0, unit="requests")], MOST, 2.0, Verdict.MET),
        ([result("blobfs", 3.0, unit="requests"), result("blobfs", 0.1)], MOST, 3.0, Verdict.MISSED),
    ],
)
def test_goal(results: list[Result], goal: Goal, measured: float | None, verdict: Verdict) -> None:
    """How many times as fast as the peer, or the figure; who fails misses, who was not there is open."""
    (row,) = judge(results, [goal])
    assert (row.measured, row.verdict) == (measured, verdict)


def test_goals_say_what_is_wanted() -> None:
    """In words that fit a table, each once."""
    assert GOAL.wanted == "≥ 0.9× ext4"
    assert MOST.wanted == "≤ 2 requests"
    assert len({(goal.text, goal.wanted) for goal in GOALS}) == len(GOALS)


def test_goals_and_panels_are_of_workloads_that_there_are() -> None:
    """A workload that is called otherwise some day takes its goals along."""
    assert {goal.workload for goal in GOALS} | {workload for workload, _, _ in SHOWN} <= WORKLOADS.keys()


# The report


def test_page_says_who_was_how_many_times_as_slow() -> None:
    """blobfs first; medians, spread, ratios; failures in words below; who is not there at the end."""
    text = page(
        found(
            result("ext4", 1.0, 2.0, 3.0),
            result("blobfs", 2.0, 4.0, 6.0),
            result("rclone", failure="it hung | badly"),
            result("sshfs", 8.0, failure="it crashed"),
        ),
        {"w": "What is done", "other": "What was not done"},
    )
    assert "| | blobfs | ext4 | rclone | sshfs |" in text
    assert "| warm, s | 4 (2–6) | 2 (1–3) **0.5×** | failed | 8 **4×**, then failed |" in text
    assert "* rclone failed (warm): it hung / badly" in text
    assert "| absent | not installed: left out | never |" in text
    assert "What was not done" not in text
    assert text.index("## Goals") < text.index("## What is done")


def test_findings_come_back_from_their_json() -> None:
    """As they were; the goals are in it for programs that do not know them."""
    findings = found(result("ext4", 1.0, 2.0), result("blobfs", failure="hung"))
    text = dump(findings)
    assert load(text) == findings
    assert len(json.loads(text)["goals"]) == len(GOALS)


def test_picture_shows_what_can_be_compared() -> None:
    """A panel needs blobfs and somebody else; the fastest stands first; counts are no bars."""
    shown = (("w", "warm", "read again"), ("w", "cold", "read"))
    (panel,) = panels(
        [
            result("blobfs", 2.0),
            result("ext4", 1.0),
            result("rclone", failure="hung"),
            result("blobfs", 7.0, unit="requests"),
            result("ext4", 1.0, case="cold"),
        ],
        shown,
    )
    assert panel.title == "read again"
    assert [bar.peer for bar in panel.bars] == ["ext4", "blobfs"]
    assert panel.failed == ("rclone",)


def test_no_two_figures_of_one_thing() -> None:
    """A result is found by what it is of."""
    one, other = result("a", 1.0), result("b", 1.0)
    assert find([one, other], "w", "warm", "b") == other
    assert find([dataclasses.replace(one, workload="x")], "w", "warm", "a") is None


# Readers


def read(kind: str, *arguments: str | Path) -> str:
    """The digest a reader tells."""
    command = program("reader", kind, "--digest", *arguments)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=20, check=True)
    digest: str = json.loads(done.stdout)["digest"]
    return digest


def test_every_workload_is_described() -> None:
    """docs/bench/README.md has a paragraph for each."""
    text = (ROOT / "docs" / "bench" / "README.md").read_text("utf-8")
    assert [name for name in WORKLOADS if f"**{name}**" not in text] == []


def test_every_reader_reads_all_of_it(tmp_path: Path) -> None:
    """By read, map, sendfile and copy; and by many processes at once."""
    content = random.Random(1).randbytes(3 * BLOCK + 5)
    (tmp_path / "content").write_bytes(content)
    expected = hashlib.sha256(content).hexdigest()
    file = tmp_path / "content"
    assert read("sequential", file) == expected
    assert read("mapped", file) == expected
    assert read("sent", file) == expected
    assert read("copied", file, tmp_path / "copy") == expected
    assert read("parallel", file, "same", "4") == expected


def test_small_files_are_read_alike_by_one_and_by_many(tmp_path: Path) -> None:
    """The first of them in the order of their names; a reader that fails fails the whole."""
    for name in range(12):
        (tmp_path / str(name)).write_bytes(bytes([name]))
    expected = hashlib.sha256(bytes([0, 1, 10])).hexdigest()
    assert read("small", tmp_path, "3") == expected
    assert read("parallel", tmp_path, "small", "2", "3") == expected
    with pytest.raises(subprocess.CalledProcessError):
        read("parallel", tmp_path, "own", "13")


# All of it


@pytest.mark.timeout(60)
def test_two_peers_are_compared(tmp_path: Path) -> None:
    """blobfs beside the disk: figures of both, nothing failed, a page and a JSON."""
    command = [sys.executable, "-P", "-m", "tools.comparing", "--quick", "--peers", "blobfs,ext4"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out"), "sequential"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    findings = load((tmp_path / "out" / "results.json").read_text("utf-8"))
    assert {each.peer for each in findings.results} == {"blobfs", "ext4"}
    assert [each.failure for each in findings.results if each.failure or not each.values] == []
    assert "| blobfs | ext4 |" in (tmp_path / "out" / "results.md").read_text("utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
