"""Another node's directories of very many names: ``ls -l`` of one with 100,000, ``find`` over 1,000 of 1,000.

The share is made by hand: logs for blobfs, empty files of the same names for ``rclone mount``, which lists
what nginx's autoindex shows and asks for each file besides, for its size and time.
"""

import shutil
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from blobfs.model import BlobId
from blobfs.record import BlobRecord, DirRecord, LogEntry, encode_log_entry, encode_log_header
from tests.servers.nginx import Nginx
from tools.benchmarks.measuring import SECONDS, Figures, Runs, alternate, median
from tools.benchmarks.node import MeasuredNode
from tools.benchmarks.rclone import LISTING, PROGRAM, rclone_mount
from tools.benchmarks.report import Table, say
from tools.benchmarks.usage import run_beside
from tools.benchmarks.workbench import MIB, Workbench, counted, served

DIRECTORY, TREE = "many", "tree"
STALE = 1.5
"""Seconds after which a listing is asked for again; a second is what it is believed for."""
WAYS = ("first", "again", "ten more", "share down")


def listing(bench: Workbench) -> None:
    names, folders = bench.size(100_000, 5_000), bench.size(1_000, 50)
    say(f"{names} names in one directory, {folders} directories of 1,000; {bench.runs} turns")
    with bench.place() as share:
        _make_share(share, names, folders)
        ways: dict[str, Callable[[], Figures]] = {"blobfs": partial(_blobfs, bench, share, names)}
        if shutil.which(PROGRAM) is not None:
            ways["rclone"] = partial(_rclone, bench, share)
        _show(alternate(bench.runs, ways))
        _show_tree(_walk(bench, share, folders))


def _make_share(share: Path, names: int, folders: int) -> None:
    tops = [DIRECTORY, TREE]
    _write_log(share, "", (LogEntry(top, DirRecord(1, 1)) for top in tops))
    _write_log(share, DIRECTORY, map(_entry, range(names)))
    (share / DIRECTORY).mkdir()
    for number in range(names):
        (share / DIRECTORY / _name(number)).touch()
    _write_log(share, TREE, (LogEntry(f"{folder:04}", DirRecord(1, 1)) for folder in range(folders)))
    for folder in range(folders):
        _write_log(share, f"{TREE}/{folder:04}", map(_entry, range(1000)))


def _write_log(share: Path, directory: str, entries: Iterable[LogEntry]) -> None:
    log = _log(share, directory)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(
        encode_log_header(f"generation of {directory}", 1) + b"".join(map(encode_log_entry, entries))
    )


def _log(share: Path, directory: str) -> Path:
    return share / ".blobfs/names" / directory / ".blobfs-log"


def _name(number: int) -> str:
    return f"file-{number:06}.bin"


def _entry(number: int) -> LogEntry:
    blob = BlobId(f"{number:064x}")
    return LogEntry(_name(number), BlobRecord(blob, number, 0o444, 10**18 + number, 10**18 + number))


def _blobfs(bench: Workbench, share: Path, names: int) -> Figures:
    found: Figures = {}
    with served(share) as [server], bench.node([server.url]) as node:
        before = node.rss()
        path = node.path(DIRECTORY)
        _note(found, "names", _list(node, server, "-f", path))
        found["MB"] = (node.rss() - before) / MIB
        for way in WAYS[:2]:
            _note(found, way, _list(node, server, "-l", path))
        whole = _log(share, DIRECTORY).stat().st_size
        with _log(share, DIRECTORY).open("ab") as file:
            file.writelines(encode_log_entry(_entry(number)) for number in range(names, names + 10))
        _note(found, WAYS[2], _list(node, server, "-l", path))
        with _log(share, DIRECTORY).open("ab") as file:
            file.truncate(whole)
        server.stop()
        _note(found, WAYS[3], _list(node, None, "-l", path))
        server.start()
    return found | {SECONDS: found["first: s"]}


def _rclone(bench: Workbench, share: Path) -> Figures:
    found: Figures = {}
    with (
        bench.place() as place,
        served(share, directives=LISTING) as [server],
        rclone_mount(server.url, place) as mount,
    ):
        for way, option in (("names", "-f"), ("first", "-l"), ("again", "-l")):
            server.forget_requests()
            figures = run_beside(mount.pid, "ls", option, mount.path / DIRECTORY, discard=True)
            _note(found, way, figures | counted(server))
    return found | {SECONDS: found["first: s"]}


def _list(node: MeasuredNode, server: Nginx | None, option: str, path: Path) -> Figures:
    time.sleep(STALE)
    if server is not None:
        server.forget_requests()
    figures = run_beside(node.pid, "ls", option, path, discard=True)
    return figures | (counted(server) if server is not None else {"requests": 0, "MB": 0})


def _note(found: Figures, way: str, figures: Figures) -> None:
    for name, value in figures.items():
        found[f"{way}: {'s' if name == SECONDS else name}"] = value


def _walk(bench: Workbench, share: Path, folders: int) -> Runs:
    """``find`` over all directories, cold and a second time."""

    def once() -> Figures:
        found: Figures = {}
        with served(share) as [server], bench.node([server.url]) as node:
            before = node.rss()
            for way in ("first", "again"):
                server.forget_requests()
                figures = run_beside(node.pid, "find", node.path(TREE), discard=True)
                _note(found, way, figures | counted(server))
            found["MB"] = (node.rss() - before) / MIB
        return found | {SECONDS: found["first: s"]}

    return {"find": [once()]}


def _show(found: Runs) -> None:
    table = Table("", "s", "CPU s", "requests", "MB sent")
    for program, runs in found.items():
        for way, word in (("names", "ls -f, first"), *((way, f"ls -l, {way}") for way in WAYS)):
            if f"{way}: s" in runs[0]:
                row = (median(runs, f"{way}: {name}") for name in ("s", "cpu", "requests", "MB"))
                table.add(f"{program}: {word}", *row)
    say(table)
    say(f"blobfs: {median(found['blobfs'], 'MB'):.0f} MiB of memory for the names")


def _show_tree(found: Runs) -> None:
    table = Table("", "s", "CPU s", "requests", "MB sent")
    for way in ("first", "again"):
        row = (median(found["find"], f"{way}: {name}") for name in ("s", "cpu", "requests", "MB"))
        table.add(f"find, {way}", *row)
    say(table)
    say(f"{median(found['find'], 'MB'):.0f} MiB of memory for the tree")
