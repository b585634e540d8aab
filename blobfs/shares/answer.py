"""What came back from a share, and what every failure is called and counted as."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
import trio

from blobfs.model import Kind
from blobfs.shares.answer_rules import (
    ABSENT_STATUS,
    Complaint,
    certificate_complaint,
    content_length,
    kind_of_status,
    retry_after,
    status_words,
)
from blobfs.shares.counters import Counters
from blobfs.shares.failure import ShareFailure
from blobfs.shares.retry_rules import failed_attempt
from blobfs.shares.transport import Response
from blobfs.shares.wording import described

PIECE_BYTES = 64 * 1024
"""The most that `chunk` gives at once."""

DRAIN_BYTES = 16 * 1024
"""An error's body is read to its end up to here, so that its connection can be used again."""
DRAIN_SECONDS = 0.2
START_BYTES = 1024
"""Of an error's page, in which nginx says what it means."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Trial:
    """One question to one share, from the first byte sent."""

    shown: str
    phase: str
    started: float
    counters: Counters

    def failure(
        self, kind: Kind, detail: str, response: Response | None = None, received: int = 0
    ) -> ShareFailure:
        """What the trial came to, counted as it is made: raise it."""
        ms = round((trio.current_time() - self.started) * 1000)
        status = None if response is None else response.status
        self.counters.failures[kind] += 1
        _log.debug("%s %s: %s, %s, %d bytes, %d ms", self.shown, self.phase, kind, detail, received, ms)
        attempt = failed_attempt(self.shown, self.phase, kind, detail, status, received, ms)
        if response is None or kind is not Kind.BUSY:
            return ShareFailure(attempt)
        return ShareFailure(attempt, retry_after(response.headers, datetime.now(UTC)))


class Answer:
    """Status and headers at once; the body, once, by `read_into` or in pieces by `chunk`."""

    def __init__(self, trial: Trial, response: Response, shown: str | None = None) -> None:
        """`shown` is what was sent to say who we are, if anything was: ``token``, ``password``."""
        self._trial = trial
        self._response = response
        self._shown = shown
        self.received = 0
        self.points_to_directory = False
        """The share redirects to the same path and a slash."""

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> httpx.Headers:
        return self._response.headers

    @property
    def is_absent(self) -> bool:
        return self.status in ABSENT_STATUS

    async def read_into(self, memory: memoryview) -> int:
        """The next bytes of the body, as many as there are now; 0 at its end. Raises `ShareFailure`."""
        try:
            got = await self._response.read_into(memory)
        except httpx.TransportError as error:
            raise self.failure(*described(error)) from error
        self.received += got
        self._trial.counters.received += got
        return got

    async def chunk(self) -> bytes:
        """As `read_into`, for short bodies: ``b""`` at the end."""
        memory = bytearray(PIECE_BYTES)
        got = await self.read_into(memoryview(memory))
        return bytes(memory[:got])

    def failure(self, kind: Kind, detail: str) -> ShareFailure:
        return self._trial.failure(kind, detail, self._response, self.received)

    def status_failure(self) -> ShareFailure:
        return self.failure(kind_of_status(self.status), status_words(self.status, self._shown))

    async def ensure_admitted(self) -> None:
        """Raises `ShareFailure` for what has nothing to do with what was asked: a proxy that speaks for
        itself, a server that wants to know first who asks."""
        scheme, proxy = self._response.route.origin[0], self._response.route.proxy
        if self.status == 407 and proxy is not None and scheme == "http":
            raise self.failure(Kind.PROXY, proxy.rejected(407))
        if self.status == 400 and scheme == "https":
            complaint = certificate_complaint(await self._start())
            self.refuse(complaint)

    async def _start(self) -> bytes:
        """Of a short body, as much as comes soon."""
        memory, got = memoryview(bytearray(START_BYTES)), 0
        with trio.move_on_after(DRAIN_SECONDS):
            while got < START_BYTES and (count := await self.read_into(memory[got:])):
                got += count
        return bytes(memory[:got])

    def refuse(self, complaint: Complaint | None) -> None:
        """Raises what `answer_rules` found wrong, if anything."""
        if complaint is not None:
            raise self.failure(*complaint)

    async def aclose(self) -> None:
        """Leaves the connection usable if that is cheap; never waits long, whatever the share does."""
        try:
            if self.status not in (200, 206) and (content_length(self.headers) or 0) <= DRAIN_BYTES:
                with trio.move_on_after(DRAIN_SECONDS):
                    await self._drain()
        finally:
            self._response.close()

    async def _drain(self) -> None:
        memory, left = memoryview(bytearray(DRAIN_BYTES)), DRAIN_BYTES
        try:
            while left >= 0 and (got := await self._response.read_into(memory)):
                left -= got
        except httpx.TransportError as error:
            _log.debug("%s: the rest of an error's body: %s", self._trial.shown, described(error)[1])
