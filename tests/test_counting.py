"""The arithmetic of tools/bench-counts: counts are only worth what these are."""

import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

from tests.structure import ROOT
from tools.comparing.workloads.idle import Life
from tools.counting.counted import Counted, SystemCalls, read, save
from tools.counting.operations import Plan
from tools.counting.peers import merge
from tools.counting.strace import Traced, count_calls
from tools.counting.table import markdown
from tools.counting.watching import cpu_seconds

ONE = Counted(
    "stat", "missing", "blobfs", 0, {"LOOKUP": 1.0, "RELEASE": 1.0}, 1.0, 2.0, 400.0, 1.0, 812.3, 900.0
)
SAID = """\
12 preadv2(9, [{iov_base=""..., iov_len=4096}], 1, 0, RWF_NOWAIT) = 4096
12 writev(5, [{iov_base=""..., iov_len=16}, {iov_base=""..., iov_len=4096}], 2 <unfinished ...>
13 futex(0x7f, FUTEX_WAKE_PRIVATE, 1) = 1
12 <... writev resumed>) = 4112
13 openat(AT_FDCWD, ""..., O_RDONLY) = -1 ENOENT (No such file or directory)
13 sendfile(7, 9, [0] => [100], 100) = 100
13 epoll_wait(4, <unfinished ...>
"""


def test_what_strace_says_is_counted() -> None:
    """A call cut in two is one; one that goes on is none; sendfile copies nothing."""
    found = Traced()
    count_calls(SAID, found)
    assert found.calls == {"preadv2": 1, "writev": 1, "futex": 1, "openat": 1, "sendfile": 1}
    assert found.per(2) == SystemCalls(dict.fromkeys(found.calls, 0.5), (4096 + 4112) / 2)


def test_both_passes_become_one() -> None:
    """The system calls of a pass of their own belong to the same operation of the same peer."""
    calls = SystemCalls({"read": 2.0}, 8192.0)
    other = replace(ONE, peer="bindfs")
    assert merge([ONE, other], [replace(ONE, calls=calls)]) == [replace(ONE, calls=calls), other]


def test_counts_are_kept(tmp_path: Path) -> None:
    """What was written is what is read."""
    found = [ONE, replace(ONE, peer="rclone", calls=SystemCalls({"read": 0.5}, 12.0))]
    save(tmp_path / "counts", {"blobfs": "this"}, found)
    assert read(tmp_path / "counts") == found


def test_before_and_now_stand_in_one_cell() -> None:
    """Only what has changed has two figures; nobody waits for a RELEASE."""
    now = replace(ONE, requests={"RELEASE": 1.0}, http=2.0, hops=0.0)
    row = next(line for line in markdown([now], [ONE]).splitlines() if line.startswith("| stat, missing"))
    assert row == "| stat, missing | 1 → 0 | 2 | 1 → 0 | – | – | 812 → 812 |"


def test_every_operation_is_told_from_every_other() -> None:
    """Name and state say which one it is, among all that one mount goes through."""
    plan = Plan(12)
    keys = [(each.name, each.state) for each in [*plan.first(), *plan.again(), *plan.writing()] if each.name]
    assert len(keys) == len(set(keys))


def test_cpu_time_is_that_of_the_whole_process() -> None:
    """Exact, and with what it has started: more of it the more it works."""
    before = cpu_seconds(os.getpid())
    assert abs(before - time.process_time()) < 1
    with subprocess.Popen(["sh", "-c", "while :; do :; done"], cwd=ROOT) as child:
        try:
            while cpu_seconds(child.pid) < 0.02:
                pass
            assert cpu_seconds(os.getpid()) >= before + 0.02
        finally:
            child.kill()


def test_a_thread_that_has_ended_woke_up_once() -> None:
    """What it counted is gone with it; a thread that is new is counted from its start."""
    before = Life(0.0, {1: 10, 2: 500}, 0)
    assert Life(0.0, {1: 12, 3: 4}, 0).switches_since(before) == 2 + 4 + 1
    assert before.switches_since(before) == 0
