"""Which signals end a wait: from the text of /proc/PID/status, without any process."""

import signal
from dataclasses import replace
from pathlib import Path
from signal import (
    SIGALRM,
    SIGCHLD,
    SIGCONT,
    SIGHUP,
    SIGINT,
    SIGKILL,
    SIGQUIT,
    SIGRTMIN,
    SIGSTOP,
    SIGTERM,
    SIGTSTP,
    SIGUSR1,
    SIGWINCH,
)

import pytest

from blobfs.vfs.signals import Task, ending_signals, mask_of, names_of, needs_others, parse_status
from tests.vfs.tasks import status_text

QUIET = Task(7, 7, "D", 1, 0, 0, 0, 0, 0)
WORKER = replace(QUIET, pid=8, threads=2)
"""Another thread of the same process."""


def test_a_real_status_is_understood():
    """Of the thread that reads it: no signal waits for it, and it runs."""
    task = parse_status(Path("/proc/thread-self/status").read_bytes())
    assert task is not None
    assert (task.state, task.pending, task.shared) == ("R", 0, 0)
    assert task.caught & mask_of(SIGINT)
    assert task.tgid == int(Path("/proc/self").readlink().name)


def test_every_field_arrives():
    """Masks are hexadecimal, 64 bits wide; a name cannot pass for a field, for its newlines are escaped."""
    task = Task(8, 7, "D", 2, 1, 2, 4, 8, 1 << 63)
    assert parse_status(status_text(task, name="State:\tR\\nPid:\t1")) == task


@pytest.mark.parametrize("text", [b"", b"Name:\tcat\nState:\tD (disk sleep)\n", b"\xff" * 100])
def test_what_is_no_status(text: bytes):
    """Says nothing of anybody, and nobody is interrupted because of it."""
    assert parse_status(text) is None


@pytest.mark.parametrize(
    "number", [SIGKILL, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGALRM, SIGUSR1, SIGRTMIN, 64]
)
def test_what_ends_the_program_ends_its_wait(number: int):
    """Every signal that is not caught and does not leave the program alive by default."""
    assert ending_signals(replace(QUIET, pending=mask_of(number))) == mask_of(number)
    assert ending_signals(replace(QUIET, shared=mask_of(number))) == mask_of(number)
    assert ending_signals(replace(QUIET, pending=mask_of(number)), only_fatal=True) == mask_of(number)


@pytest.mark.parametrize("number", [SIGCHLD, SIGWINCH, SIGCONT, SIGSTOP, SIGTSTP, signal.SIGURG])
def test_what_leaves_it_alive_does_not(number: int):
    """What is ignored by default, and what stops: it is continued, and its call must not have failed."""
    assert ending_signals(replace(QUIET, pending=mask_of(number), shared=mask_of(number))) == 0


@pytest.mark.parametrize(
    "number", [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD, SIGALRM, SIGUSR1, SIGWINCH, SIGTSTP, SIGRTMIN]
)
def test_what_is_caught(number: int):
    """Ends the wait if it asks the program to end; never where only its end may."""
    task = replace(QUIET, shared=mask_of(number), caught=mask_of(number))
    asks = number in (SIGINT, SIGTERM, SIGHUP, SIGQUIT)
    assert ending_signals(task) == (mask_of(number) if asks else 0)
    assert ending_signals(task, only_fatal=True) == 0


def test_what_is_blocked_or_ignored():
    """Is pending for nobody; no process can block or ignore SIGKILL, so its bit is never in these masks."""
    both = mask_of(SIGINT, SIGTERM)
    assert ending_signals(replace(QUIET, pending=both, blocked=mask_of(SIGINT))) == mask_of(SIGTERM)
    assert ending_signals(replace(QUIET, shared=both, ignored=mask_of(SIGINT))) == mask_of(SIGTERM)
    assert ending_signals(replace(QUIET, shared=both, ignored=both, pending=mask_of(SIGKILL))) == mask_of(
        SIGKILL
    )


def test_a_signal_to_the_process_is_the_main_threads():
    """Unless it blocks it or is gone; then it is a thread's whose fellows all block it."""
    term = mask_of(SIGTERM)
    task, main = replace(WORKER, shared=term), replace(QUIET, threads=2, shared=term)
    assert needs_others(task)
    assert not needs_others(main)
    assert ending_signals(main) == term
    assert ending_signals(task, [main]) == 0
    assert ending_signals(task, [replace(main, blocked=term)]) == term
    assert ending_signals(task, [replace(main, state="Z")]) == term
    third = replace(WORKER, pid=9)
    assert ending_signals(task, [replace(main, blocked=term), third]) == 0
    assert ending_signals(replace(task, pending=term), [main]) == term


def test_signals_have_names():
    """In what the log says of an interruption."""
    assert names_of(mask_of(SIGINT, SIGKILL)) == "SIGINT, SIGKILL"
    assert names_of(mask_of(40)) == "signal 40"
