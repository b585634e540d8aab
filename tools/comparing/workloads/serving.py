"""The other side: what a share gives to one client and to sixteen, from the built-in server and from nginx.

The client is one curl, which keeps its connections; both servers export the same directory, and nothing is
written down. `blobfs serve` runs alone, without a mount.
"""

import contextlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.servers.nginx import free_port
from tools.benchmarks.running import Ended, Failed, Overdue, environment, run
from tools.benchmarks.workbench import CONTENT, GIB, MIB, PAGE, served, write_noise
from tools.comparing.comparison import Comparison, Noted, Way, WrongBytes
from tools.comparing.results import Result
from tools.counting.watching import cpu_seconds

NAME = "serving"
CLIENTS = 16
SMALL = "small"
START_SECONDS = 20.0
LIMIT = 120.0


@dataclass(frozen=True, slots=True)
class Server:
    name: str
    url: str
    cpu: Callable[[], float]
    """Seconds so far, of all its processes."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """What the clients fetch: all of it is a case of the workload."""

    case: str
    paths: tuple[str, ...]
    clients: int
    size: int
    """Bytes of them all."""


def serving(comparison: Comparison) -> list[Result]:
    size = comparison.size(GIB, 64 * MIB)
    count = comparison.size(2000, 200)
    noted = Noted(NAME)
    with (
        comparison.bench.source(partial(_write, size, count)) as share,
        _builtin(share.parent) as builtin,
        _nginx(share) as nginx,
    ):
        for server in (builtin, nginx):
            _demand_right(server, share)
        ways: dict[Way, Callable[[], float]] = {
            (fetch.case, server.name): partial(_fetch, fetch, server, noted)
            for fetch in _fetches(comparison, size, count)
            for server in (builtin, nginx)
        }
        return [*comparison.alternate(NAME, ways), *noted.results()]


def _fetches(comparison: Comparison, size: int, count: int) -> list[Fetch]:
    small = tuple(f"{SMALL}/{number}" for number in range(count))
    part = size // 8
    return [
        Fetch(f"{_shown(size)}, 1 client", (CONTENT,), 1, size),
        Fetch(f"{_shown(part)} each, {CLIENTS} clients", ("part",) * CLIENTS, CLIENTS, CLIENTS * part),
        Fetch(f"{count:,} files of 4 KiB, 1 client", small, 1, count * PAGE),
        Fetch(f"{count:,} files of 4 KiB, {CLIENTS} clients", small, CLIENTS, count * PAGE),
    ]


def _shown(size: int) -> str:
    return f"{size // GIB} GiB" if size >= GIB else f"{size // MIB} MiB"


def _write(size: int, count: int, mountpoint: Path) -> None:
    write_noise(mountpoint / CONTENT, size)
    write_noise(mountpoint / "part", size // 8, seed=1)
    (mountpoint / SMALL).mkdir()
    for number in range(count):
        write_noise(mountpoint / SMALL / str(number), PAGE, seed=number)


def _demand_right(server: Server, share: Path) -> None:
    with urllib.request.urlopen(f"{server.url}part", timeout=LIMIT) as answer:
        if answer.read() != (share / "part").read_bytes():
            raise WrongBytes(f"{server.name} serves something else than what was written")


def _fetch(fetch: Fetch, server: Server, noted: Noted) -> float:
    before = server.cpu()
    ended = _curl([f"{server.url}{path}" for path in fetch.paths], fetch.clients)
    noted.note(fetch.case, server.name, server.cpu() - before, "s of CPU")
    received = sum(map(int, re.findall(r"got=(\d+)", ended.said)))
    if received != fetch.size:
        raise WrongBytes(f"{received} bytes instead of {fetch.size}")
    return ended.seconds


def _curl(urls: Sequence[str], clients: int) -> Ended:
    """Its settings go in by a file: two thousand addresses are too long for a command line."""
    parallel = ["--parallel", "--parallel-immediate", "--parallel-max", str(clients)] if clients > 1 else []
    with tempfile.NamedTemporaryFile("w", encoding="ascii") as settings:
        settings.writelines(f'url = "{url}"\noutput = /dev/null\n' for url in urls)
        settings.flush()
        command = [
            "curl",
            "-sS",
            "--no-progress-meter",
            "--fail",
            *parallel,
            "--write-out",
            "got=%{size_download}\\n",
        ]
        return run(*command, "--config", settings.name, limit=LIMIT)


@contextlib.contextmanager
def _nginx(share: Path) -> Iterator[Server]:
    with served(share, directives="access_log off; keepalive_requests 1000000;") as [nginx]:
        yield Server("nginx", nginx.url, partial(cpu_seconds, nginx.pid))


@contextlib.contextmanager
def _builtin(store: Path) -> Iterator[Server]:
    port = free_port()
    command = [
        sys.executable,
        "-P",
        "-m",
        "blobfs",
        "serve",
        f"--store={store}",
        f"--listen=127.0.0.1:{port}",
    ]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    try:
        _wait_until_it_answers(process, f"http://127.0.0.1:{port}/part")
        yield Server("blobfs", f"http://127.0.0.1:{port}/", partial(cpu_seconds, process.pid))
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _wait_until_it_answers(process: subprocess.Popen[bytes], url: str) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise Failed(f"blobfs serve ended with exit code {process.returncode}")
        with contextlib.suppress(OSError):
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=2).close()
            return
        time.sleep(0.05)
    raise Overdue("blobfs serve does not answer")
