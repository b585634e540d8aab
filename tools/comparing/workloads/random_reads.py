"""4 KiB anywhere in one big file: missing (how long, and how much is fetched for it), here but cold, warm."""

from collections.abc import Callable
from functools import partial

from tools.benchmarks.running import run
from tools.benchmarks.usage import wait_idle
from tools.benchmarks.workbench import CONTENT, GIB, MIB, counted, one_blob, sha256
from tools.comparing.comparison import Comparison, Noted, Way
from tools.comparing.fleet import Fleet, fleet
from tools.comparing.peers.downloads import Curl
from tools.comparing.peers.everyone import LOADING, LOCAL
from tools.comparing.reading import SECONDS, read
from tools.comparing.results import Result

NAME = "random"
ONE, HUNDRED, COLD, WARM = "missing, one", "missing, a hundred", "here, cold", "warm"
COUNTS = {ONE: 1, HUNDRED: 100, COLD: 2_000, WARM: 20_000}
SEED = "5"
BLOCK = 4096
CURL = "curl -r"


def random_reads(comparison: Comparison) -> list[Result]:
    size = comparison.size(GIB, 64 * MIB)
    noted = Noted(NAME)
    with comparison.bench.source(one_blob(size)) as share:
        digests = {CONTENT: sha256(share / CONTENT)}
        expected = {case: _expected(share / CONTENT, count) for case, count in COUNTS.items()}
        with fleet(comparison, share, digests, [*LOADING, *LOCAL]) as mounts:
            missing: dict[Way, Callable[[], float]] = {}
            for case in (ONE, HUNDRED):
                for name in mounts.named(LOADING):
                    missing[case, name] = partial(_missing, mounts, name, case, expected[case], noted)
                if comparison.has(Curl()):
                    missing[case, CURL] = partial(_curl, mounts, case, size, noted)
            here: dict[Way, Callable[[], float]] = {}
            here |= {(COLD, name): partial(_cold, mounts, name, expected[COLD]) for name in mounts
                     if name != "ext4"}  # fmt: skip
            here |= {(WARM, name): partial(_warm, mounts, name, expected[WARM]) for name in mounts}
            return [
                *comparison.alternate(NAME, missing, "ms"),
                *comparison.alternate(NAME, here, "us"),
                *noted.results(),
            ]


def _expected(path: object, count: int) -> str:
    return read("random", str(path), str(count), SEED, digest=True).digest


def _missing(mounts: Fleet, name: str, case: str, expected: str, noted: Noted) -> float:
    """Milliseconds for all of them, with the open."""
    mounted = mounts.fresh(name)
    mounts.source.server.forget_requests()
    done = mounts.read(name, "random", CONTENT, str(COUNTS[case]), SEED, expected=expected)
    for pid in mounted.pids:
        wait_idle(pid)
    _note_counts(mounts, name, case, noted)
    return done.seconds * 1e3


def _curl(mounts: Fleet, case: str, size: int, noted: Noted) -> float:
    """By its own clock, without its start; one connection for all."""
    mounts.source.server.forget_requests()
    count = COUNTS[case]
    words: list[str] = []
    for start in (number * (size // count) // BLOCK * BLOCK for number in range(count)):
        words += ["--next", "-sSf", "-r", f"{start}-{start + BLOCK - 1}", "-o", "/dev/null"]
        words += ["-w", "%{time_total}\\n", f"{mounts.source.url}{CONTENT}"]
    said = run("curl", *words[1:], limit=SECONDS).said
    _note_counts(mounts, CURL, case, noted)
    return sum(map(float, said.split())) * 1e3


def _note_counts(mounts: Fleet, name: str, case: str, noted: Noted) -> None:
    figures = counted(mounts.source.server)
    noted.note(case, name, figures["requests"], "requests")
    noted.note(case, name, figures["MB"], "MB")


def _cold(mounts: Fleet, name: str, expected: str) -> float:
    """Microseconds for each."""
    mounts.bring(name, CONTENT)
    mounts.forget(name, CONTENT)
    done = mounts.read(name, "random", CONTENT, str(COUNTS[COLD]), SEED, expected=expected)
    return done.seconds / COUNTS[COLD] * 1e6


def _warm(mounts: Fleet, name: str, expected: str) -> float:
    """Microseconds for each, of a file that was just read from its beginning to its end."""
    mounts.read(name, "sequential", CONTENT)
    done = mounts.read(name, "random", CONTENT, str(COUNTS[WARM]), SEED, expected=expected)
    return done.seconds / COUNTS[WARM] * 1e6
