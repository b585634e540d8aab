"""A share in memory that fails on request.

`FakeShare` is what `blobfs.sync.peer.ShareLike` asks for, over dictionaries. What goes wrong is a short
string for each kind of question, one letter a request; after the last letter all goes well, and an
asterisk repeats the letter before it for ever::

    FakeShare(blob="us")     the first request for bytes fails, the second breaks off, the others are fine
    FakeShare(record="h*")   no question for a record is ever answered

==  ====================================================================
o   the right answer
u   unreachable, before the first byte
a   absent
b   busy
r   refused
w   wrong: one bit of the bytes, a tree of something else, no record
s   short: bytes up to `short_after`, then the connection breaks
h   hangs until it is cancelled
g   waits at the gate, then answers
m   stalls: bytes up to `short_after`, then hangs
p   pauses: bytes up to `short_after`, then waits at the gate, then the rest
d   drips: `drip` seconds before each piece
l   limited: `burst` bytes at once, once a second (as nginx's limit_rate)
c   changed (of a plain file)
==  ====================================================================

All answers begin after `latency` seconds, and all bodies go down one `line`.
"""

import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from types import TracebackType

import trio

from blobfs.directory_bundles import Bundle, plan_bundles
from blobfs.merkle import StreamHasher, Tree
from blobfs.model import BlobId, Kind, Name, split
from blobfs.record import BlobRecord, DirRecord, LogEntry, LogRecord, Record, encode_log_entry
from blobfs.record import encode_log_header as header_of
from blobfs.shares.address import CONCURRENT, ShareOptions
from blobfs.shares.body import ByteStream
from blobfs.shares.client import DIRECTORY_HERE, DirectoryHere
from blobfs.shares.exchange import ShareStatistics
from blobfs.shares.failure import ShareFailure
from blobfs.shares.log_tail import LogReading
from blobfs.shares.plain import PlainFile
from blobfs.shares.retry_rules import failed_attempt
from tests.sync.fake_body import Bursts, Line, Pieces, spoilt

PIECE = 64 * 1024
"""Bytes of a body that arrive at once."""

_FAILURES = {
    "u": (Kind.CONNECT_REFUSED, "connection refused"),
    "b": (Kind.BUSY, "HTTP 503"),
    "r": (Kind.REFUSED, "HTTP 403"),
    "c": (Kind.CHANGED, "another ETag"),
}


def tree_of(raw: bytes) -> Tree:
    hasher = StreamHasher()
    hasher.append(raw)
    return hasher.finish()


def blob_of(raw: bytes) -> BlobId:
    return tree_of(raw).root


def record_of(raw: bytes, published_ns: int = 1_000) -> BlobRecord:
    return BlobRecord(blob_of(raw), len(raw), 0o444, 500, published_ns)


@dataclass(frozen=True)
class Asked:
    """One request as the share saw it."""

    phase: str
    what: str
    offset: int = 0
    length: int = 0


class FakeShare:
    """Mutable: what it holds (the tests change it), the scripts as they are used up, `asked`."""

    def __init__(
        self,
        url: str = "http://one/",
        *,
        plain: bool = False,
        group: int = 1,
        concurrent: int = CONCURRENT,
        **scripts: str,
    ) -> None:
        self.options = ShareOptions(url, plain=plain, group=group, concurrent=concurrent)
        self.shown = url
        self.blobs: dict[BlobId, bytes] = {}
        self.trees: dict[BlobId, bytes] = {}
        self.bundles: dict[BlobId, bytes] = {}
        self.bundle_lists: dict[Name, tuple[Bundle, ...]] = {}
        self.records: dict[Name, Record] = {}
        self.logs: dict[Name, bytes] = {}
        self.files: dict[Name, tuple[PlainFile, bytes]] = {}
        self.present: dict[BlobId, bytes] | None = None
        """Of a live node: the maps of what it has of blobs."""
        self.asked: list[Asked] = []
        self.received = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.short_after = 0
        self.piece = PIECE
        self.latency = 0.0
        self.line = Line()
        self.drip = 1.0
        self.burst = PIECE
        self.retry_after: float | None = None
        """Seconds, said with "busy"."""
        self.on_piece: Callable[[], None] = lambda: None
        """Called before each piece of a body."""
        self.gate = trio.Event()
        self.waiting: trio.Event = trio.Event()
        """Set when a request hangs or waits at the gate."""
        self._scripts = scripts
        self._generation = 0

    def __repr__(self) -> str:
        return f"<FakeShare {self.shown} {dict(self.counts())}>"

    # What the tests put there

    def add_blob(self, raw: bytes) -> BlobId:
        tree = tree_of(raw)
        self.blobs[tree.root] = raw
        self.trees[tree.root] = tree.tree
        return tree.root

    def publish(self, name: str, raw: bytes, published_ns: int = 1_000) -> BlobRecord:
        """A named blob, as a node shares it: bytes, tree, record and log line."""
        self.add_blob(raw)
        record = record_of(raw, published_ns)
        self.put(name, record)
        return record

    def put(self, name: str, record: LogRecord) -> None:
        directory, component = split(Name(name))
        self.ensure_log(directory)
        self.logs[directory] += encode_log_entry(LogEntry(component, record))
        if not isinstance(record, DirRecord):
            self.records[Name(name)] = record
        elif Name(name) not in self.logs:
            self.rebuild_log(Name(name), [])

    def ensure_log(self, directory: Name) -> None:
        """An empty log where there is none; its parents list it."""
        if directory in self.logs:
            return
        self.rebuild_log(directory, [])
        if directory:
            self.put(directory, DirRecord(500, 500))

    def rebuild_log(self, directory: Name, entries: Iterable[LogEntry]) -> None:
        self._generation += 1
        lines = b"".join(encode_log_entry(entry) for entry in entries)
        self.logs[directory] = header_of(f"generation {self._generation}") + lines

    def bundle_up(self, directory: str) -> list[Bundle]:
        """All that is named in a directory, in its bundles, in the order of the names."""
        here = {name: record for name, record in self.records.items() if split(name)[0] == directory}
        wanted = {each.blob: each.size for _, each in sorted(here.items()) if isinstance(each, BlobRecord)}
        bundles = plan_bundles(Name(directory), wanted, ())
        self.bundle_lists[Name(directory)] = tuple(bundles)
        for bundle in bundles:
            self.bundles[bundle.id] = b"".join(self.blobs[member.blob] for member in bundle.members)
        return bundles

    def put_file(self, name: str, raw: bytes, version: str = '"1"', mtime_ns: int | None = 9_000) -> None:
        self.files[Name(name)] = (PlainFile(len(raw), version, mtime_ns, version), raw)

    # What the tests look at

    def counts(self) -> Counter[str]:
        """Requests by phase."""
        return Counter(each.phase for each in self.asked)

    def ranges(self, phase: str = "blob") -> list[tuple[int, int]]:
        """Offset and length of each request."""
        return [(each.offset, each.length) for each in self.asked if each.phase == phase]

    # What the node asks

    async def __aenter__(self) -> "FakeShare":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.in_flight == 0, f"{self} was left with requests under way"

    def statistics(self) -> ShareStatistics:
        return ShareStatistics(dict(self.counts()), self.received, {}, self.in_flight, 0, 0)

    async def record(self, name: Name) -> Record | DirectoryHere | None:
        async with self._answering("record", name) as letter:
            if letter == "w":
                raise self._failure("record", Kind.WRONG_BYTES, "not JSON")
            if letter == "a":
                return None
            return DIRECTORY_HERE if name in self.logs else self.records.get(name)

    async def log(self, directory: Name, reading: LogReading) -> bool:
        offset = reading.resume_offset
        async with self._answering("log", directory, offset or 0) as letter:
            if letter == "a" or directory not in self.logs:
                return False
            raw = self.logs[directory]
            self.received += len(raw) - (offset or 0)
            if offset is not None:
                reading.begin_tail()
                if reading.feed(raw[offset:]) and reading.finish():
                    return True
            reading.begin_whole()
            if letter == "s":
                reading.feed(raw[: self.short_after])
                raise self._failure("log", Kind.SHORT_BODY, f"short body: {self.short_after} bytes")
            return reading.feed(raw) and reading.finish()

    async def short_log(self, directory: Name, reading: LogReading, most: int) -> bool | None:
        if len(self.logs.get(directory, b"")) <= most:
            return await self.log(directory, reading)
        async with self._answering("log", directory, 0):
            return None

    async def bundle_list(self, directory: Name) -> tuple[Bundle, ...] | None:
        async with self._answering("list", directory) as letter:
            if letter == "w":
                raise self._failure("list", Kind.WRONG_BYTES, "not JSON")
            return None if letter == "a" else self.bundle_lists.get(directory)

    async def blob_size(self, blob: BlobId) -> int | None:
        async with self._answering("size", blob) as letter:
            if letter == "a" or blob not in self.blobs:
                return None
            return len(self.blobs[blob])

    @property
    def has_parts(self) -> bool:
        """Whether it is a live node."""
        return self.present is not None

    async def parts(self, blob: BlobId, size: int) -> bytes | None:
        async with self._answering("parts", blob) as letter:
            return None if letter == "a" or self.present is None else self.present.get(blob)

    async def tree(self, blob: BlobId, offset: int, length: int) -> bytes:
        async with self._answering("tree", blob, offset, length) as letter:
            if letter == "a" or blob not in self.trees:
                raise self._failure("tree", Kind.ABSENT, "HTTP 404")
            content = self.trees[blob][offset : offset + length]
            if letter == "w":
                content = tree_of(b"something else").root.encode()[:32] * (length // 32)
            if len(content) < length:
                raise self._failure("tree", Kind.WRONG_RANGE, "shorter than its record says (HTTP 416)")
            self.received += len(content)
            return content

    @asynccontextmanager
    async def blob(self, blob: BlobId, size: int, offset: int, length: int) -> AsyncIterator[ByteStream]:
        async with self._answering("blob", blob, offset, length) as letter:
            if letter == "a" or blob not in self.blobs:
                raise self._failure("blob", Kind.ABSENT, "HTTP 404")
            raw = self.blobs[blob]
            if len(raw) != size:
                raise self._failure("blob", Kind.WRONG_SIZE, f"has {len(raw)} bytes, its record says {size}")
            yield self._pieces(letter, raw[offset : offset + length])

    @asynccontextmanager
    async def bundle(self, package: BlobId, offset: int, length: int) -> AsyncIterator[ByteStream]:
        async with self._answering("bundle", package, offset, length) as letter:
            if letter == "a" or package not in self.bundles:
                raise self._failure("bundle", Kind.ABSENT, "HTTP 404")
            content = self.bundles[package][offset : offset + length]
            if len(content) < length:
                raise self._failure("bundle", Kind.WRONG_RANGE, "asked for more than there is")
            yield self._pieces(letter, content)

    async def plain_stat(self, name: Name) -> PlainFile | DirectoryHere | None:
        async with self._answering("size", name) as letter:
            if letter == "a" or name not in self.files:
                is_directory = any(other.startswith(f"{name}/") for other in self.files)
                return DIRECTORY_HERE if is_directory else None
            return self.files[name][0]

    @asynccontextmanager
    async def plain(
        self, name: Name, pinned: PlainFile, offset: int, length: int
    ) -> AsyncIterator[ByteStream]:
        async with self._answering("blob", name, offset, length) as letter:
            if letter == "a" or name not in self.files:
                raise self._failure("blob", Kind.ABSENT, "HTTP 404")
            version, raw = self.files[name]
            if version != pinned:
                raise self._failure("blob", Kind.CHANGED, "another ETag")
            yield self._pieces(letter, raw[offset : offset + length])

    # How it answers

    def _letter(self, phase: str) -> str:
        script = self._scripts.get(phase, "")
        if not script:
            return "o"
        if script[1:2] != "*":
            self._scripts[phase] = script[1:]
        return script[0]

    @asynccontextmanager
    async def _answering(self, phase: str, what: str, offset: int = 0, length: int = 0) -> AsyncIterator[str]:
        """Counts the request, and does what its letter says up to where the answer begins."""
        self.asked.append(Asked(phase, what, offset, length))
        letter = self._letter(phase)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await trio.sleep(self.latency)
            if letter in "hg":
                await self._wait(letter)
            if letter in _FAILURES:
                raise self._failure(phase, *_FAILURES[letter])
            yield letter
        finally:
            self.in_flight -= 1

    async def _wait(self, letter: str) -> None:
        """For the gate; a letter that hangs waits for ever."""
        self.waiting.set()
        if letter in "hm":
            await trio.sleep_forever()
        await self.gate.wait()

    def _pieces(self, letter: str, content: bytes) -> Pieces:
        limit = Bursts(self.burst if letter == "l" else math.inf)
        before = partial(self._before_piece, self.drip if letter == "d" else 0.0, limit)
        interrupt = partial(self._interrupt, letter, len(content))
        stop = self.short_after if letter in "smp" else None
        return Pieces(spoilt(content) if letter == "w" else content, self.piece, before, stop, interrupt)

    async def _before_piece(self, pause: float, limit: Bursts, length: int) -> None:
        await trio.sleep(pause)
        await limit.send(length)
        await self.line.send(length)
        self.on_piece()
        self.received += length

    async def _interrupt(self, letter: str, length: int) -> None:
        if letter != "s":
            await self._wait(letter)
            return
        raise self._failure("blob", Kind.SHORT_BODY, f"short body: {self.short_after} of {length} bytes")

    def _failure(self, phase: str, kind: Kind, detail: str) -> ShareFailure:
        retry_after = self.retry_after if kind is Kind.BUSY else None
        return ShareFailure(failed_attempt(self.shown, phase, kind, detail), retry_after)
