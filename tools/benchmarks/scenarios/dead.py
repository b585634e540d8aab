"""No share answers any more: how long until a reader is told, and until it is gone when it is killed.

The content is missing and its name is known: the readers have opened the file while the share was there. Then
the share is refused, drops, or is silent, on the port it had. A read that nobody interrupts ends within
``read_timeout``, a lookup within ``lookup_timeout``: set short for that, and long for what is killed.
"""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tools.benchmarks.measuring import SECONDS, Figures, median
from tools.benchmarks.node import MeasuredNode
from tools.benchmarks.outages import OUTAGES
from tools.benchmarks.report import Table, say
from tools.benchmarks.running import Word, environment, has_ended, python, run
from tools.benchmarks.workbench import CONTENT, MIB, Workbench, one_blob, served

LOOKUP_TIMEOUT, READ_TIMEOUT = 1.5, 4.0
SHORT = ("fill=never", f"lookup_timeout={LOOKUP_TIMEOUT:g}", f"read_timeout={READ_TIMEOUT:g}")
LONG = ("fill=never", "lookup_timeout=15", "read_timeout=15", "connect_timeout=15", "idle_timeout=15")
SIZE = 4 * MIB
SETTLING_SECONDS = 0.5
"""Until a reader waits for certain."""
GONE_WITHIN = 25.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
HELD_CAT = 'exec 3<"$1"; echo ready; read go; exec cat <&3 >/dev/null'

Told = tuple[float, str]
"""Seconds, and what was told then."""


def dead(bench: Workbench) -> None:
    say(f"medians of {bench.runs} turns, in seconds")
    with bench.source(one_blob(SIZE)) as share:
        _show_told(bench, share)
        _show_killed(bench, share)


def _show_told(bench: Workbench, share: Path) -> None:
    table = Table(
        "seconds until it fails",
        *(f"read (limit {READ_TIMEOUT:g})", "errno", f"lookup (limit {LOOKUP_TIMEOUT:g})", "errno"),
        *("lookup, read-only mount", "errno"),
    )
    for outage in OUTAGES:
        cells: list[str | float] = []
        for fail in (_fail_read, _fail_lookup, _fail_lookup_read_only):
            cells += _summary([fail(bench, share, outage) for _ in range(bench.runs)])
        table.add(outage, *cells)
    say(f"{table}\n")


def _summary(found: Sequence[Told]) -> tuple[float, str]:
    seconds: list[Figures] = [{SECONDS: each} for each, _ in found]
    return median(seconds), "/".join(sorted({told for _, told in found}))


@contextmanager
def _outage(
    bench: Workbench, share: Path, outage: str, options: Sequence[str], *arguments: str
) -> Iterator[tuple[MeasuredNode, Callable[[], None]]]:
    """A node whose only share goes away when what is yielded with it is called."""
    with (
        served(share) as [server],
        ExitStack() as outages,
        bench.node([server.url], options, arguments) as node,
    ):

        def begin() -> None:
            server.stop()
            outages.enter_context(OUTAGES[outage](server.port))

        yield node, begin
        node.kill9()  # frees what still hangs in it


@contextmanager
def _held(*command: Word) -> Iterator[subprocess.Popen[bytes]]:
    """A program that has opened its file and waits for a line before it reads."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment()
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        process.stdout.readline()
        yield process
        process.kill()


def _start_reading(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.flush()


def _fail_read(bench: Workbench, share: Path, outage: str) -> Told:
    with (
        _outage(bench, share, outage, SHORT) as (node, begin),
        _held(*python("reader", "held", node.path(CONTENT))) as reader,
    ):
        begin()
        _start_reading(reader)
        has_ended(reader, GONE_WITHIN)
        return _told(reader)


def _fail_lookup(bench: Workbench, share: Path, outage: str, *arguments: str) -> Told:
    with _outage(bench, share, outage, SHORT, *arguments) as (node, begin):
        begin()
        found = json.loads(run(*python("reader", "first", node.path(CONTENT)), limit=GONE_WITHIN).said)
        return found["seconds"], found["errno"]


def _fail_lookup_read_only(bench: Workbench, share: Path, outage: str) -> Told:
    return _fail_lookup(bench, share, outage, "--read-only")


def _told(reader: subprocess.Popen[bytes]) -> Told:
    """What a reader says that has ended; nothing, if a signal has ended it."""
    assert reader.stdout is not None
    if reader.poll() is None:
        return GONE_WITHIN, "still waits"
    if not (line := reader.stdout.readline()):
        return 0.0, signal.Signals(-reader.returncode).name
    found = json.loads(line)
    return found["seconds"], "KeyboardInterrupt" if found["interrupted"] else str(found["errno"])


def _show_killed(bench: Workbench, share: Path) -> None:
    names = [f"cat, {number.name}" for number in SIGNALS]
    table = Table("seconds until it is gone", *names, "Python, SIGINT", "which got")
    for outage in OUTAGES:
        for place, ways in {"read": _kill_in_read, "lookup": _kill_in_lookup}.items():
            cats = [
                _summary([ways(bench, share, outage, number, "cat") for _ in range(bench.runs)])[0]
                for number in SIGNALS
            ]
            python_told = [ways(bench, share, outage, signal.SIGINT, "python") for _ in range(bench.runs)]
            table.add(f"{outage}, in {place}", *cats, *_summary(python_told))
    say(table)
    say(f"0: it had ended by itself before the signal, which came {SETTLING_SECONDS:g} s after the call")


def _kill_in_read(bench: Workbench, share: Path, outage: str, number: signal.Signals, who: str) -> Told:
    with _outage(bench, share, outage, LONG) as (node, begin):
        file = node.path(CONTENT)
        command = python("reader", "held", file) if who == "python" else ["sh", "-c", HELD_CAT, "sh", file]
        with _held(*command) as process:
            begin()
            _start_reading(process)
            return _kill(process, number, who)


def _kill_in_lookup(bench: Workbench, share: Path, outage: str, number: signal.Signals, who: str) -> Told:
    with _outage(bench, share, outage, LONG) as (node, begin):
        begin()
        file = node.path(CONTENT)
        command: list[Word] = python("reader", "first", file) if who == "python" else ["cat", file]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment()
        )
        return _kill(process, number, who)


def _kill(process: subprocess.Popen[bytes], number: signal.Signals, who: str) -> Told:
    """How long it lives after the signal; 0 if it was gone before."""
    time.sleep(SETTLING_SECONDS)
    if process.poll() is not None:
        return 0.0, _told(process)[1] if who == "python" else ""
    process.send_signal(number)
    began = time.perf_counter()
    has_ended(process, GONE_WITHIN)
    seconds = time.perf_counter() - began
    return seconds, _told(process)[1] if who == "python" else ""
