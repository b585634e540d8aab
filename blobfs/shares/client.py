"""One share, asked over HTTP (docs/formats.md says what lies where).

Every method returns a value, says "absent" with None, or raises `ShareFailure` with the attempt. Nothing here
decides which share to ask, how often, or whether bytes are the right ones: only that they are the bytes this
share has at the place that was asked for.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

import trio

from blobfs.chunks import HEADER, map_length, parse_map
from blobfs.directory_bundles import LIST_NAME, MAX_LIST_BYTES, Bundle, decode_list
from blobfs.model import RESERVED_PREFIX, BlobId, Invalid, Kind, Name, url_path
from blobfs.record import LOG_NAME, MAX_RECORD_BYTES, Record, decode_record
from blobfs.shares.address import ShareOptions, shown_url
from blobfs.shares.answer import Answer
from blobfs.shares.answer_rules import (
    Stretch,
    content_length,
    encoding_complaint,
    is_page,
    is_whole,
    kind_of_status,
    stretch_complaint,
    tail_complaint,
)
from blobfs.shares.body import (
    ByteStream,
    ExactBody,
    NoBody,
    read_exactly,
    read_json_start,
    read_json_text,
)
from blobfs.shares.exchange import Exchange, Line, Question, ShareStatistics
from blobfs.shares.log_tail import MAX_LOG_BYTES, LogReading, LogTooLong
from blobfs.shares.plain import PAGE_SUFFIXES, PlainFile, plain_file, version_complaint

NAMES = f"{RESERVED_PREFIX}/names/"
BLOBS = f"{RESERVED_PREFIX}/blobs/"
TREES = f"{RESERVED_PREFIX}/trees/"
PARTS = f"{RESERVED_PREFIX}/parts/"
BUNDLES = f"{RESERVED_PREFIX}/bundles/"

MAX_TREE_READ = 1024 * 1024
"""Bytes of a tree file in one call; they are held in memory."""

PARSED_AT_ONCE = 128 * 1024
"""Bytes of a log that are parsed in one go, some 2 ms: nobody else in the loop should wait for longer."""


class DirectoryHere:
    """The name is a directory on this share."""

    def __repr__(self) -> str:
        return "<DirectoryHere>"


DIRECTORY_HERE = DirectoryHere()


class Share:
    """One share. Open it (`async with`) before asking; `__init__` does no I/O.

    Mutable: the counters and connections of its exchange, and `_redirects_directories`, which is learned
    once; None is not yet.
    """

    def __init__(self, options: ShareOptions, before: "Share | None" = None) -> None:
        """`before` is the same share with other options, whose counts go on."""
        self.options = options
        self.shown = shown_url(options.url)
        """The share's URL without credentials, as in `Attempt.share`."""
        counters = None if before is None else before._exchange.counters
        self._exchange: Exchange = Exchange(options, counters)
        self._redirects_directories: bool | None = None

    def __repr__(self) -> str:
        return f"<Share {self.shown} {self.statistics()}>"

    async def __aenter__(self) -> Self:
        await self.aopen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aopen(self) -> None:
        await self._exchange.aopen()

    async def aclose(self) -> None:
        await self._exchange.aclose()

    def statistics(self) -> ShareStatistics:
        return self._exchange.statistics()

    async def record(self, name: Name) -> Record | DirectoryHere | None:
        """The name's record; None if the share has no such name."""
        async with self._exchange.ask(Question("record", NAMES + url_path(name))) as answer:
            if answer.points_to_directory:
                self._redirects_directories = True
                return DIRECTORY_HERE
            if answer.status == 200:
                return await _read_record(answer)
        # 1. A server that redirects directories has none here. 2. Others answer with an error, like for a
        # name they do not have: the log tells. 3. Busy or broken servers, and those that do not know us, have
        # said nothing yet.
        said_nothing = answer.status == 401 or kind_of_status(answer.status) is Kind.BUSY
        may_be_directory = 400 <= answer.status < 500 and not said_nothing
        if may_be_directory and not await self._shows_directories() and await self._has_log(name):
            return DIRECTORY_HERE
        if answer.is_absent:
            return None
        raise answer.status_failure()

    async def _shows_directories(self) -> bool:
        """Whether it redirects them, found out once: then what it does not redirect is none."""
        if self._redirects_directories is None:
            async with self._exchange.ask(Question("record", NAMES.rstrip("/"))) as answer:
                self._redirects_directories = answer.points_to_directory
        return self._redirects_directories

    async def _has_log(self, directory: Name) -> bool:
        question = Question("log", _log_path(directory), headers={"Range": "bytes=0-0"}, line=Line.LOGS)
        async with self._exchange.ask(question) as answer:
            if answer.is_absent:
                return False
            if answer.status not in (200, 206):
                raise answer.status_failure()
            return (await answer.chunk()).startswith(b"{")

    async def log(self, directory: Name, reading: LogReading) -> bool:
        """Reads on in a directory's log to its end; False if the share has no such directory.

        What came before a failure or a cancellation stays read.
        """
        offset = reading.resume_offset
        if offset is not None:
            headers = {"Range": f"bytes={offset}-"}
            question = Question("log", _log_path(directory), headers=headers, line=Line.LOGS)
            async with self._exchange.ask(question) as answer:
                if answer.is_absent:
                    return False
                if answer.status == 200:
                    await _read_log(answer, reading)
                    return True
                if answer.status == 206:
                    if await _read_log_tail(answer, reading, offset):
                        return True
                elif answer.status != 416:
                    raise answer.status_failure()
        async with self._exchange.ask(Question("log", _log_path(directory), line=Line.LOGS)) as answer:
            if answer.is_absent:
                return False
            if answer.status != 200:
                raise answer.status_failure()
            await _read_log(answer, reading)
            return True

    async def short_log(self, directory: Name, reading: LogReading, most: int) -> bool | None:
        """As `log`, from the first byte, if it has at most `most` bytes; None if it has more."""
        headers = {"Range": f"bytes=0-{most - 1}"}
        question = Question("log", _log_path(directory), headers=headers, line=Line.LOGS)
        async with self._exchange.ask(question) as answer:
            if answer.is_absent:
                return False
            if answer.status not in (200, 206):
                raise answer.status_failure()
            if answer.status == 206 and not is_whole(answer.headers):
                while await answer.chunk():
                    pass  # to its end: the connection is used again
                return None
            if answer.status == 200 and (content_length(answer.headers) or most + 1) > most:
                return None
            await _read_log(answer, reading)
            return True

    async def bundle_list(self, directory: Name) -> tuple[Bundle, ...] | None:
        """The bundles of a directory; None if the share has none of it."""
        async with self._exchange.ask(Question("list", _list_path(directory), line=Line.LOGS)) as answer:
            if answer.is_absent:
                return None
            if answer.status != 200:
                raise answer.status_failure()
            raw = await read_json_text(answer, MAX_LIST_BYTES, "list of bundles")
            try:
                return decode_list(raw, directory)
            except Invalid as error:
                raise answer.failure(Kind.WRONG_BYTES, str(error)) from error

    async def blob_size(self, blob: BlobId) -> int | None:
        """The size of a blob as this share has it; None if it does not."""
        async with self._exchange.ask(Question("size", BLOBS + blob, "HEAD")) as answer:
            if answer.is_absent:
                return None
            return _promised_size(answer, may_be_page=False)

    @property
    def has_parts(self) -> bool:
        """Whether a live node answers, that can be asked which parts it has of a blob it is loading."""
        return self._exchange.has_parts

    async def parts(self, blob: BlobId, size: int) -> bytes | None:
        """Which chunks of a blob of `size` bytes can be asked for, a bit each; None is not any."""
        async with self._exchange.ask(Question("parts", PARTS + blob)) as answer:
            if answer.is_absent:
                return None
            if answer.status != 200:
                raise answer.status_failure()
            length = HEADER.size + map_length(size)
            raw = await read_exactly(ExactBody(answer, length), length)
            found = parse_map(bytes(raw))
            if found is None or found.size != size:
                raise answer.failure(Kind.NOT_A_SHARE, "no map of this blob's chunks")
            return bytes(found.bits)

    async def tree(self, blob: BlobId, offset: int, length: int) -> bytes:
        """Exactly these bytes of a blob's tree file."""
        if length > MAX_TREE_READ:
            raise ValueError(f"{length} bytes of a tree at once, the limit is {MAX_TREE_READ}")
        if length == 0:
            return b""
        stretch = Stretch(offset, length)
        headers = {"Range": stretch.range_header()}
        question = Question("tree", TREES + blob, headers=headers, line=Line.TREES)
        async with self._exchange.ask(question) as answer:
            return bytes(await read_exactly(_stretch_body(answer, stretch), length))

    @asynccontextmanager
    async def blob(self, blob: BlobId, size: int, offset: int, length: int) -> AsyncIterator[ByteStream]:
        """Exactly `length` bytes of a blob of `size` bytes, as they come in.

        Raises `ShareFailure` on entry when the share does not deliver, and while reading when it breaks off.
        """
        stretch = _checked(Stretch(offset, length, size))
        if length == 0:
            yield NoBody()
            return
        headers = {"Range": stretch.range_header()}
        question = Question("blob", BLOBS + blob, headers=headers, line=Line.BYTES)
        async with self._exchange.ask(question) as answer:
            yield _stretch_body(answer, stretch)

    @asynccontextmanager
    async def bundle(self, package: BlobId, offset: int, length: int) -> AsyncIterator[ByteStream]:
        """As `blob`, of a bundle, whose size is not known; ABSENT when the share has none."""
        stretch = Stretch(offset, length)
        if offset < 0 or length < 0:
            raise ValueError(f"no such bytes: {stretch}")
        if length == 0:
            yield NoBody()
            return
        headers = {"Range": stretch.range_header()}
        question = Question("bundle", BUNDLES + package, headers=headers, line=Line.BYTES)
        async with self._exchange.ask(question) as answer:
            if answer.status == 200:  # no size that it could be told by
                _refuse_page(answer)
            yield _stretch_body(answer, stretch)

    async def plain_stat(self, name: Name) -> PlainFile | DirectoryHere | None:
        """Which version of a file a plain share has; None if it has none."""
        async with self._exchange.ask(Question("size", url_path(name), "HEAD")) as answer:
            if answer.points_to_directory:
                return DIRECTORY_HERE
            if answer.is_absent:
                return None
            size = _promised_size(answer, may_be_page=name.lower().endswith(PAGE_SUFFIXES))
            return plain_file(size, answer.headers)

    @asynccontextmanager
    async def plain(
        self, name: Name, pinned: PlainFile, offset: int, length: int
    ) -> AsyncIterator[ByteStream]:
        """As `blob`, of a plain file; CHANGED if it is no longer the version that was pinned."""
        stretch = _checked(Stretch(offset, length, pinned.size))
        if length == 0:
            yield NoBody()
            return
        headers = {"Range": stretch.range_header()}
        if pinned.validator is not None:
            headers["If-Range"] = pinned.validator
        question = Question("blob", url_path(name), headers=headers, line=Line.BYTES)
        async with self._exchange.ask(question) as answer:
            answer.refuse(version_complaint(answer.status, answer.headers, pinned))
            yield _stretch_body(answer, stretch)


def _log_path(directory: Name) -> str:
    return NAMES + url_path(f"{directory}/{LOG_NAME}" if directory else LOG_NAME)


def _list_path(directory: Name) -> str:
    return NAMES + url_path(f"{directory}/{LIST_NAME}" if directory else LIST_NAME)


def _checked(stretch: Stretch) -> Stretch:
    if stretch.size is None or not 0 <= stretch.offset <= stretch.offset + stretch.length <= stretch.size:
        raise ValueError(f"no such bytes: {stretch}")
    return stretch


def _stretch_body(answer: Answer, stretch: Stretch) -> ExactBody:
    if answer.status not in (200, 206, 416):
        raise answer.status_failure()
    answer.refuse(encoding_complaint(answer.headers))
    answer.refuse(stretch_complaint(answer.status, answer.headers, stretch))
    more = answer.status == 200 and stretch.length != stretch.size
    return ExactBody(answer, stretch.length, more=more)


def _promised_size(answer: Answer, *, may_be_page: bool) -> int:
    """The size a HEAD request's answer tells."""
    if answer.status != 200:
        raise answer.status_failure()
    answer.refuse(encoding_complaint(answer.headers))
    if not may_be_page:
        _refuse_page(answer)
    size = content_length(answer.headers)
    if size is None:
        raise answer.failure(Kind.NOT_A_SHARE, "no Content-Length")
    return size


def _refuse_page(answer: Answer) -> None:
    if is_page(answer.headers):
        raise answer.failure(Kind.NOT_A_SHARE, "not a share's answer: an HTML page")


async def _read_record(answer: Answer) -> Record:
    raw = await read_json_text(answer, MAX_RECORD_BYTES, "record")
    try:
        return decode_record(raw)
    except Invalid as error:
        raise answer.failure(Kind.WRONG_BYTES, str(error)) from error


async def _read_log(answer: Answer, reading: LogReading) -> None:
    if (content_length(answer.headers) or 0) > MAX_LOG_BYTES:
        raise answer.failure(Kind.LONG_BODY, f"log larger than {MAX_LOG_BYTES} bytes")
    start = await read_json_start(answer)
    reading.begin_whole()
    await _feed(answer, reading, start)


async def _read_log_tail(answer: Answer, reading: LogReading, offset: int) -> bool:
    """False: it is another log."""
    answer.refuse(encoding_complaint(answer.headers))
    answer.refuse(tail_complaint(answer.headers, offset))
    reading.begin_tail()
    return await _feed(answer, reading, await answer.chunk())


async def _feed(answer: Answer, reading: LogReading, piece: bytes) -> bool:
    """The whole body, parsed as it comes: no piece keeps the loop for long, others run between two."""
    try:
        while piece:
            for offset in range(0, len(piece), PARSED_AT_ONCE):
                if not reading.feed(piece[offset : offset + PARSED_AT_ONCE]):
                    return False
                await trio.lowlevel.checkpoint()
            piece = await answer.chunk()
        return reading.finish()
    except LogTooLong as error:
        raise answer.failure(Kind.LONG_BODY, str(error)) from error
    except Invalid as error:
        raise answer.failure(Kind.WRONG_BYTES, str(error)) from error
