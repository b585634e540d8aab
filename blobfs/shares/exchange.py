"""Asking a share: slots, redirects, time limits.

`Exchange.ask` is the only way to the network. It gives an `Answer` for whatever status came and raises
`ShareFailure` when none did; which statuses are good is for the caller to say. Whatever happens, cancellation
included, the response is closed before `ask` is left.
"""

import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from urllib.request import getproxies

import httpx
import trio

from blobfs.errors import ConfigRefused
from blobfs.model import Invalid, Kind
from blobfs.requests import current_request
from blobfs.shares.address import ShareOptions, origin, shown_url
from blobfs.shares.answer import Answer, Trial
from blobfs.shares.answer_rules import REDIRECT_STATUS
from blobfs.shares.connecting import Connector
from blobfs.shares.counters import Counters
from blobfs.shares.credentials import Credentials, read_credentials
from blobfs.shares.parts import PARTS_HEADER
from blobfs.shares.proxies import Proxies
from blobfs.shares.tls import Trust, read_trust
from blobfs.shares.transport import Limits, ShareTransport
from blobfs.shares.wording import described

MAX_REDIRECTS = 5
USER_AGENT = "blobfs"


class Line(Enum):
    """What waits for what: bytes that do not come hold up no name, a name that hangs no listing."""

    NAMES = auto()
    LOGS = auto()
    TREES = auto()
    BYTES = auto()


_QUEUE_SECONDS = {Line.NAMES: 0.25, Line.LOGS: 0.25, Line.TREES: math.inf, Line.BYTES: math.inf}
"""After which a question is asked all the same: a writer whose new name is looked up is not to wait behind
two hundred readers whose names are not answered. Their number is bounded by who asks."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a share."""

    phase: str
    """One of `Attempt.phase`."""
    path: str
    """Relative to the share's URL, percent-encoded."""
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    line: Line = Line.NAMES
    """Waits for a slot among its like only."""


@dataclass(frozen=True, slots=True)
class ShareStatistics:
    """Counts since the share was made."""

    requests: Mapping[str, int]
    """By phase; a redirect that was followed counts as another one."""
    received: int
    """Bytes of bodies."""
    failures: Mapping[Kind, int]
    in_flight: int
    idle_connections: int
    """At most `ShareOptions.concurrent`."""
    connections_opened: int


class Exchange:
    """One share's connections and the rules for using them.

    Mutable: the counters; `_transport` and `_credentials`, by `aopen`; `has_parts`, by every answer.
    """

    def __init__(self, options: ShareOptions, counters: Counters | None = None) -> None:
        """`counters` are those of the exchange that it takes the place of."""
        url = httpx.URL(options.url)
        self._options = options
        self._base = shown_url(options.url)
        self._origin = origin(url)
        self._headers = {"Accept-Encoding": "identity", "Accept": "*/*", "User-Agent": USER_AGENT}
        self._credentials: Credentials | None = None
        self._limits = Limits(options.first_byte_timeout, options.idle_timeout, options.concurrent)
        self._slots = {line: trio.Semaphore(options.concurrent) for line in Line}
        self._counters = counters or Counters()
        self._transport: ShareTransport | None = None
        self.has_parts = False
        """Whether its last answer says that parts of blobs can be asked for."""

    async def aopen(self) -> None:
        """Raises `ConfigRefused`, in one line with the share."""
        proxies = Proxies(getproxies() if self._options.access.proxy else {})
        try:
            proxies.of(self._origin)
            self._credentials, trust = await self._read_files()
        except (ConfigRefused, Invalid) as wrong:
            raise ConfigRefused(f"{self._base}: {wrong}") from None
        connector = Connector(self._options.connect_timeout, trust, proxies, self._counters)
        self._transport = ShareTransport(self._limits, connector)

    async def _read_files(self) -> tuple[Credentials | None, Trust | None]:
        """In a thread, if there are any."""
        options = self._options
        has_secret = options.access.token_file is not None or options.access.password_file is not None
        run = trio.to_thread.run_sync
        credentials = await run(read_credentials, options) if has_secret else read_credentials(options)
        may_need_tls = self._origin[0] == "https" or options.redirects
        return credentials, await run(read_trust, options) if may_need_tls else None

    async def aclose(self) -> None:
        """Closes the idle connections; requests under way belong to their callers."""
        if self._transport is not None:
            self._transport.close()

    @property
    def counters(self) -> Counters:
        return self._counters

    def statistics(self) -> ShareStatistics:
        counters = self._counters
        return ShareStatistics(
            dict(counters.requests),
            counters.received,
            dict(counters.failures),
            counters.in_flight,
            idle_connections=0 if self._transport is None else self._transport.idle,
            connections_opened=counters.connections,
        )

    @asynccontextmanager
    async def ask(self, question: Question) -> AsyncIterator[Answer]:
        """The answer, with its body unread. Raises `ShareFailure` when there is none."""
        async with self._slot(question.line):
            self._counters.in_flight += 1
            try:
                answer = await self._answer(question)
                try:
                    yield answer
                finally:
                    await answer.aclose()
            finally:
                self._counters.in_flight -= 1

    @asynccontextmanager
    async def _slot(self, line: Line) -> AsyncIterator[None]:
        """One of the requests that run at once; short questions do not wait long behind those that hang."""
        slots = self._slots[line]
        with trio.move_on_after(_QUEUE_SECONDS[line]) as patience:
            await slots.acquire()
        try:
            yield
        finally:
            if not patience.cancelled_caught:
                slots.release()

    async def _answer(self, question: Question) -> Answer:
        trial = Trial(self._base, question.phase, trio.current_time(), self._counters)
        url = httpx.URL(self._base + question.path)
        for _ in range(1 + MAX_REDIRECTS):
            answer = await self._send(trial, question, url)
            if answer.status not in REDIRECT_STATUS or "location" not in answer.headers:
                return answer
            target = await self._redirected(answer, url)
            if target is None:
                answer.points_to_directory = True
                return answer
            url = target
        raise trial.failure(Kind.REDIRECTED, "too many redirects")

    async def _send(self, trial: Trial, question: Question, url: httpx.URL) -> Answer:
        assert self._transport is not None, "the share is not open"
        headers = {**self._headers, **question.headers}
        if (reader := current_request()) is not None:
            headers["X-Request-Id"] = reader  # so that the share's log can be laid beside ours
        shown = self._credentials if origin(url) == self._origin else None
        if shown is not None:
            headers["Authorization"] = shown.header
        request = httpx.Request(question.method, url, headers=headers)
        self._counters.requests[question.phase] += 1
        try:
            response = await self._transport.ask(request)
        except (httpx.TransportError, UnicodeError) as error:
            raise trial.failure(*described(error)) from error
        self.has_parts = PARTS_HEADER in response.headers
        answer = Answer(trial, response, None if shown is None else shown.called)
        try:
            await answer.ensure_admitted()
        except BaseException:
            await answer.aclose()
            raise
        return answer

    async def _redirected(self, answer: Answer, url: httpx.URL) -> httpx.URL | None:
        """Where a redirect leads, with the answer closed; None (and open) if it only adds a slash."""
        try:
            target = url.join(answer.headers["location"]).copy_with(userinfo=b"", fragment=None)
            if target.path == url.path + "/":
                return None
            may_leave = self._options.redirects and _is_askable(url, target)
            if origin(target) != self._origin and not may_leave:
                # Without its query, which may be a signature: who brings it is let in.
                raise answer.failure(Kind.REDIRECTED, f"redirects to {target.copy_with(query=None)}"[:200])
        except (httpx.InvalidURL, ValueError) as error:
            await answer.aclose()
            raise answer.failure(Kind.REDIRECTED, "redirects to no URL") from error
        except BaseException:
            await answer.aclose()
            raise
        await answer.aclose()
        return target


def _is_askable(url: httpx.URL, target: httpx.URL) -> bool:
    """Never in the clear what was asked in secret. getaddrinfo takes a port modulo 65536: a larger one would
    be somebody else's."""
    is_downgrade = url.scheme == "https" and target.scheme == "http"
    is_http = target.scheme in ("http", "https") and bool(target.host)
    return is_http and not is_downgrade and 0 < origin(target)[2] < 65536
