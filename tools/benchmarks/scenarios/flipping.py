"""A share that sends a wrong byte in every tenth chunk, beside one that is right.

What counts: the file is right; how often the bad share is asked after its first lie; and whether an
operator is told.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from blobfs.model import CHUNK_SIZE
from tests.servers.nginx import Request
from tools.benchmarks.report import Table, say
from tools.benchmarks.running import run
from tools.benchmarks.workbench import MB, MIB, Workbench, blob_id, served, sha256, write_noise

EVERY = 10
NAMES = ("first", "second")
"""The second blob is loaded after the first, by the same node."""


def flipping(bench: Workbench) -> None:
    size = bench.size(256 * MIB, 64 * MIB)
    say(f"two blobs of {size // MIB} MiB one after the other, the bad share named first; {bench.runs} turns")
    with bench.source(lambda mountpoint: _write(mountpoint, size)) as share, _flipped(bench, share) as bad:
        table = Table(
            "", "right", "requests to the good one", "to the bad one", "after its first lie", "MB by it"
        )
        logged: list[str] = []
        for turn in range(bench.runs):
            logged = _load(bench, share, bad, table, turn + 1)
        say(table)
        say("\n".join(["what the log of the last turn says of it:", *logged[:4]]))


def _write(mountpoint: Path, size: int) -> None:
    for seed, name in enumerate(NAMES):
        write_noise(mountpoint / name, size, seed=seed)


@contextmanager
def _flipped(bench: Workbench, share: Path) -> Iterator[Path]:
    """A copy of a share directory, with one wrong byte in every tenth chunk of every blob."""
    with bench.place() as place:
        run("cp", "-a", share, place / "share")
        for name in NAMES:
            path = place / "share" / ".blobfs" / "blobs" / blob_id(share, name)
            path.chmod(0o644)
            with path.open("r+b") as file:
                for offset in range(0, path.stat().st_size, EVERY * CHUNK_SIZE):
                    wrong = bytes([os.pread(file.fileno(), 1, offset)[0] ^ 1])
                    os.pwrite(file.fileno(), wrong, offset)
        yield place / "share"


def _load(bench: Workbench, good: Path, bad: Path, table: Table, turn: int) -> list[str]:
    """Adds a row for each blob; what is logged about the bad share."""
    with (
        served(good) as [good_server],
        served(bad) as [bad_server],
        bench.node([bad_server.url, good_server.url]) as node,
    ):
        for name in NAMES:
            is_right = run("sha256sum", node.path(name)).said.split()[0] == sha256(good / name)
            content = [each for each in bad_server.requests() if _is_content(each, blob_id(good, name))]
            table.add(
                f"turn {turn}, {name} blob",
                "yes" if is_right else "NO",
                len(good_server.requests()),
                len(bad_server.requests()),
                _after_first_lie(content),
                sum(request.bytes_sent for request in content) / MB,
            )
            good_server.forget_requests()
            bad_server.forget_requests()
        return [line for line in node.trouble() if f":{bad_server.port}/" in line]


def _is_content(request: Request, blob: str) -> bool:
    return request.uri.endswith(f"/blobs/{blob}")


def _after_first_lie(requests: Sequence[Request]) -> int:
    """How many were over after the first one that held a wrong byte; nginx logs them as they end."""
    lies = [number for number, request in enumerate(requests) if _holds_a_wrong_byte(request)]
    return len(requests) - lies[0] - 1 if lies else 0


def _holds_a_wrong_byte(request: Request) -> bool:
    first, last = (int(end) for end in request.range.removeprefix("bytes=").split("-"))
    stride = EVERY * CHUNK_SIZE
    return -(-first // stride) * stride <= last
