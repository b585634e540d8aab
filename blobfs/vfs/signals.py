"""Which signals end a wait: what /proc/PID/status says of a task, and what follows from it. Pure.

EINTR is for a caller that has a signal to see to. Who gets it without one asks again, and would for
ever; and few programs expect it from a file at all. So a signal counts only if

1. it is pending for this very task, which does not block it; of a signal to the whole process only the
   main thread is sure to be the one that the kernel has chosen, or the last thread that does not block it;
2. it would end the program, or the program catches it and it is one of those by which somebody asks a
   program to end. Others that are caught (SIGCHLD, SIGALRM, SIGWINCH, profilers' timers) tell of something:
   their handlers are installed with SA_RESTART, for which an answer of ours is not good enough;
3. and the task waits in the kernel (state D). The kernel begins a wait of FUSE in S, where no signal can be
   pending for long, and goes on in D once there is one. What runs takes its signals by itself.

Stops (Ctrl-Z) do not count: a program that is continued must not find that its call has failed.
"""

import re
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce


def mask_of(*signals: int) -> int:
    """As in /proc: bit 0 is signal 1."""
    return reduce(lambda mask, number: mask | 1 << number - 1, signals, 0)


ASKS_TO_END = mask_of(signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
"""Those that count although, and because, the program catches them."""

ENDS_NOTHING = mask_of(
    *(signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH),  # ignored by default
    *(signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU),  # stop it by default
)
"""Those that leave a program alive which does nothing about them. All others end it, real-time ones too."""

WAITING = "D"
GONE = "ZX"

_STATUS = re.compile(
    rb"\nState:\t(?P<state>\w).*?\nTgid:\t(?P<tgid>\d+).*?\nPid:\t(?P<pid>\d+).*?\nThreads:\t(?P<threads>\d+)"
    rb".*?\nSigPnd:\t(?P<pending>\w+)\nShdPnd:\t(?P<shared>\w+)"
    rb"\nSigBlk:\t(?P<blocked>\w+)\nSigIgn:\t(?P<ignored>\w+)\nSigCgt:\t(?P<caught>\w+)\n",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Task:
    """One thread. The last five are masks of signals."""

    pid: int
    tgid: int
    """The process that it belongs to, which is the pid of its main thread."""
    state: str
    threads: int
    """Of the process."""
    pending: int
    """Sent to this thread."""
    shared: int
    """Sent to the process, and not taken by any of its threads yet."""
    blocked: int
    ignored: int
    caught: int


def parse_status(text: bytes) -> Task | None:
    """None for what has not got the fields."""
    found = _STATUS.search(text)
    if found is None:
        return None
    return Task(
        pid=int(found["pid"]),
        tgid=int(found["tgid"]),
        state=found["state"].decode(),
        threads=int(found["threads"]),
        pending=int(found["pending"], 16),
        shared=int(found["shared"], 16),
        blocked=int(found["blocked"], 16),
        ignored=int(found["ignored"], 16),
        caught=int(found["caught"], 16),
    )


def needs_others(task: Task) -> bool:
    """Whether it takes the other threads to tell who will take a signal."""
    return bool(task.shared) and task.pid != task.tgid


def ending_signals(task: Task, others: Iterable[Task] = (), *, only_fatal: bool = False) -> int:
    """A mask of the pending signals that end this task's wait, whatever its state is.

    `others` are the other threads of its process, for a task that `needs_others`.
    """
    shared = task.shared
    if task.pid != task.tgid:
        for other in others:
            shared &= other.blocked if other.state not in GONE else -1
    return (task.pending | shared) & ~task.blocked & _that_count(task, only_fatal)


def _that_count(task: Task, only_fatal: bool) -> int:
    fatal = ~(task.caught | task.ignored | ENDS_NOTHING)
    return fatal if only_fatal else fatal | task.caught & ASKS_TO_END


def names_of(mask: int) -> str:
    """For messages."""
    numbers = (number for number in range(1, 65) if mask >> number - 1 & 1)
    return ", ".join(_name(number) for number in numbers)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # between the first and the last real-time signal
        return f"signal {number}"
