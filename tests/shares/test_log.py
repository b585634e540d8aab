"""Asking a share for a directory's log, from where the reader stands."""

import pytest

import blobfs.shares.client
from blobfs.model import ROOT, Name, Outcome
from blobfs.record import GoneRecord, LogEntry, encode_log_entry, encode_log_header
from blobfs.shares.log_tail import LogTail
from tests.servers.scripted import ScriptedServer, endless, ok, partial, ranged, status
from tests.shares.shared_names import attempt_of, opened

DIRECTORY = Name("models/new")
PATH = "/.blobfs/names/models/new/.blobfs-log"
HEADER = encode_log_header("g1")


def lines(*numbers: int) -> bytes:
    return b"".join(encode_log_entry(LogEntry(f"n{number}", GoneRecord(number))) for number in numbers)


def summary(tail: LogTail | None) -> tuple[bool, list[str]]:
    assert tail is not None
    return tail.fresh, [entry.component for entry in tail.entries]


async def test_only_what_is_new_is_fetched(scripted: ScriptedServer) -> None:
    """A reader that knows a log asks for its tail and gets the new lines only."""
    scripted.route(PATH, ranged(HEADER + lines(1, 2)), ranged(HEADER + lines(1, 2, 3)))
    async with opened(scripted.url) as share:
        first = await share.log(DIRECTORY, None)
        assert summary(first) == (True, ["n1", "n2"])
        assert first is not None
        second = await share.log(DIRECTORY, first.position)
        assert summary(second) == (False, ["n3"])
        assert second is not None
        third = await share.log(DIRECTORY, second.position)
        assert summary(third) == (False, [])
        assert third is not None
        assert third.position == second.position
    assert "range" not in scripted.requests[0].headers
    assert scripted.requests[1].headers["range"] == f"bytes={len(HEADER + lines(1))}-"
    assert scripted.connections == 1


async def test_the_root_has_a_log(scripted: ScriptedServer) -> None:
    """The root's log lies in names/ itself."""
    scripted.route("/.blobfs/names/.blobfs-log", ok(HEADER))
    async with opened(scripted.url) as share:
        assert summary(await share.log(ROOT, None)) == (True, [])


@pytest.mark.parametrize("rebuilt", [HEADER, encode_log_header("g2") + lines(7, 8, 9)])
async def test_a_rebuilt_log_is_read_anew(scripted: ScriptedServer, rebuilt: bytes) -> None:
    """A log that is shorter now (416), or has another line where the reader stands, starts afresh."""
    scripted.route(PATH, ranged(HEADER + lines(1, 2)), ranged(rebuilt))
    async with opened(scripted.url) as share:
        first = await share.log(DIRECTORY, None)
        assert first is not None
        second = await share.log(DIRECTORY, first.position)
        assert second is not None
        assert second.fresh
        assert second.position.offset == len(rebuilt)
        assert share.statistics().failures == {}


async def test_a_server_without_ranges_will_do(scripted: ScriptedServer) -> None:
    """A 200 to a request for the tail is the whole log, in one request."""
    scripted.route(PATH, ok(HEADER + lines(1)))
    async with opened(scripted.url) as share:
        first = await share.log(DIRECTORY, None)
        assert first is not None
        assert summary(await share.log(DIRECTORY, first.position)) == (True, ["n1"])
    assert len(scripted.requests) == 2


async def test_no_such_directory(scripted: ScriptedServer) -> None:
    """A directory that is absent, or was removed since, is None."""
    scripted.route(PATH, ok(HEADER), status(410))
    async with opened(scripted.url) as share:
        first = await share.log(DIRECTORY, None)
        assert first is not None
        assert await share.log(DIRECTORY, first.position) is None
        assert await share.log(Name("other"), None) is None
        assert share.statistics().failures == {}


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(
    ("code", "outcome"), [(403, Outcome.REFUSED), (503, Outcome.BUSY), (500, Outcome.UNREACHABLE)]
)
async def test_errors(scripted: ScriptedServer, known: bool, code: int, outcome: Outcome) -> None:
    """An error is not an empty directory."""
    scripted.route(PATH, ok(HEADER), status(code))
    async with opened(scripted.url) as share:
        first = await share.log(DIRECTORY, None)
        assert first is not None
        attempt = await attempt_of(share.log(DIRECTORY, first.position if known else None))
    assert (attempt.outcome, attempt.phase) == (outcome, "log")


@pytest.mark.parametrize(
    ("body", "outcome", "detail"),
    [
        (b"<html>", Outcome.UNREACHABLE, "not a share's answer"),
        (b"", Outcome.UNREACHABLE, "not a share's answer"),
        (b'{"log":1,', Outcome.WRONG, "without a header"),
        (b'{"log":9,"generation":"g"}\n', Outcome.WRONG, "version 1"),
    ],
)
async def test_what_is_no_log(scripted: ScriptedServer, body: bytes, outcome: Outcome, detail: str) -> None:
    """Something else in a log's place is told apart from a broken log."""
    scripted.route(PATH, ok(body))
    async with opened(scripted.url) as share:
        attempt = await attempt_of(share.log(DIRECTORY, None))
    assert attempt.outcome is outcome
    assert detail in attempt.detail


async def test_another_range_is_wrong(scripted: ScriptedServer) -> None:
    """The tail must begin where it was asked for."""
    scripted.route(PATH, ok(HEADER), partial(HEADER, f"bytes 5-{4 + len(HEADER)}/900"))
    async with opened(scripted.url) as share:
        first = await share.log(DIRECTORY, None)
        assert first is not None
        attempt = await attempt_of(share.log(DIRECTORY, first.position))
    assert (attempt.outcome, attempt.detail[:21]) == (Outcome.WRONG, "asked for bytes=0-, g")


async def test_an_endless_log_is_given_up(scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetching stops at the limit."""
    monkeypatch.setattr(blobfs.shares.client, "MAX_LOG_BYTES", 1_000_000)
    scripted.route(PATH, endless(HEADER, lines(*range(1000))))
    async with opened(scripted.url) as share:
        attempt = await attempt_of(share.log(DIRECTORY, None))
    assert (attempt.outcome, attempt.detail) == (Outcome.WRONG, "log larger than 1000000 bytes")
    assert attempt.received < 3_000_000


async def test_a_large_log_is_parsed_elsewhere(
    scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long log is parsed in a thread, with the same result."""
    monkeypatch.setattr(blobfs.shares.client, "PARSE_IN_THREAD_BYTES", 1)
    scripted.route(PATH, ranged(HEADER + lines(1)), ranged(HEADER + lines(1, 2)), ok(b'{"log":2}\n'))
    async with opened(scripted.url) as share:
        first = await share.log(DIRECTORY, None)
        assert summary(first) == (True, ["n1"])
        assert first is not None
        assert summary(await share.log(DIRECTORY, first.position)) == (False, ["n2"])
        assert (await attempt_of(share.log(DIRECTORY, None))).outcome is Outcome.WRONG
