"""Asking a share for a directory's log, from where the reader stands."""

from collections.abc import Callable

import pytest
import trio

from blobfs.model import ROOT, Kind, Name, Outcome
from blobfs.record import GoneRecord, LogEntry, encode_log_entry, encode_log_header
from blobfs.shares import client, log_tail
from blobfs.shares.log_tail import LogReading
from tests.servers.scripted import Behaviour, ScriptedServer, broken_off, endless, ok, partial, ranged, status
from tests.shares.shared_names import attempt_of, opened

DIRECTORY = Name("models/new")
PATH = "/.blobfs/names/models/new/.blobfs-log"
HEADER = encode_log_header("g1", 1000)


def lines(*numbers: int) -> bytes:
    return b"".join(encode_log_entry(LogEntry(f"n{number}", GoneRecord(number))) for number in numbers)


def names(reading: LogReading) -> list[str]:
    return sorted(reading.entries)


async def test_only_what_is_new_is_fetched(scripted: ScriptedServer) -> None:
    """A reader that knows a log asks for its tail and gets the new lines only."""
    scripted.route(PATH, ranged(HEADER + lines(1, 2)), ranged(HEADER + lines(1, 2, 3)))
    reading = LogReading()
    async with opened(scripted.url) as share:
        assert await share.log(DIRECTORY, reading)
        assert names(reading) == ["n1", "n2"]
        assert await share.log(DIRECTORY, reading)
        assert names(reading) == ["n1", "n2", "n3"]
        assert await share.log(DIRECTORY, reading)
        assert (names(reading), reading.offset) == (["n1", "n2", "n3"], len(HEADER + lines(1, 2, 3)))
    assert "range" not in scripted.requests[0].headers
    assert scripted.requests[1].headers["range"] == f"bytes={len(HEADER + lines(1))}-"
    assert scripted.sent == len(HEADER + lines(1, 2)) + len(lines(2, 3)) + len(lines(3))
    assert scripted.connections == 1


@pytest.mark.parametrize("reply", [ranged, ok])
async def test_a_short_log_is_read_at_once(
    scripted: ScriptedServer, reply: Callable[[bytes], Behaviour]
) -> None:
    """One of more bytes than are wanted is left alone, whether or not the server knows ranges."""
    whole = HEADER + lines(1, 2)
    scripted.route(PATH, reply(whole))
    async with opened(scripted.url) as share:
        reading = LogReading()
        assert await share.short_log(DIRECTORY, reading, len(whole) - 1) is None
        assert names(reading) == []
        assert await share.short_log(DIRECTORY, reading, len(whole)) is True
        assert (names(reading), reading.offset) == (["n1", "n2"], len(whole))
        assert await share.short_log(Name("models"), LogReading(), 100) is False
    assert scripted.requests[1].headers["range"] == f"bytes=0-{len(whole) - 1}"


async def test_the_root_has_a_log(scripted: ScriptedServer) -> None:
    """The root's log lies in names/ itself."""
    scripted.route("/.blobfs/names/.blobfs-log", ok(HEADER))
    reading = LogReading()
    async with opened(scripted.url) as share:
        assert await share.log(ROOT, reading)
    assert reading.known is not None


@pytest.mark.parametrize("rebuilt", [encode_log_header("g2"), encode_log_header("g2") + lines(7, 8, 9)])
async def test_a_rebuilt_log_is_read_anew(scripted: ScriptedServer, rebuilt: bytes) -> None:
    """A log that is shorter now (416), or has another line where the reader stands, starts afresh."""
    scripted.route(PATH, ranged(HEADER + lines(1, 2)), ranged(rebuilt))
    reading = LogReading()
    async with opened(scripted.url) as share:
        assert await share.log(DIRECTORY, reading)
        assert await share.log(DIRECTORY, reading)
        assert (reading.offset, "n1" in reading.entries) == (len(rebuilt), False)
        assert share.statistics().failures == {}


async def test_a_server_without_ranges_will_do(scripted: ScriptedServer) -> None:
    """A 200 to a request for the tail is the whole log, in one request."""
    scripted.route(PATH, ok(HEADER + lines(1)), ok(HEADER + lines(1, 2)))
    reading = LogReading()
    async with opened(scripted.url) as share:
        assert await share.log(DIRECTORY, reading)
        assert await share.log(DIRECTORY, reading)
    assert names(reading) == ["n1", "n2"]
    assert len(scripted.requests) == 2


OLDER = {
    "shorter, so that the range is not there": ranged(HEADER + lines(1)),
    "ends in the middle of the known line": ranged((HEADER + lines(1, 2))[:-9]),
    "without ranges": ok(HEADER + lines(1)),
    "of a generation that was made earlier": ranged(encode_log_header("g0", 500) + lines(7, 8, 9)),
    "of one that was made earlier, without ranges": ok(encode_log_header("g0", 500) + lines(7, 8, 9)),
}


@pytest.mark.parametrize("how", OLDER)
async def test_an_older_copy_takes_no_name_away(scripted: ScriptedServer, how: str) -> None:
    """A cache in between that answers with what the log was; when it is up to date again, so are we."""
    now = ranged(HEADER + lines(1, 2))
    behaviours = [OLDER[how]] * (1 if "without" in how else 2)
    scripted.route(PATH, now, *behaviours, ranged(HEADER + lines(1, 2, 3)))
    reading = LogReading()
    async with opened(scripted.url) as share:
        assert await share.log(DIRECTORY, reading)
        assert await share.log(DIRECTORY, reading)
        assert (names(reading), reading.is_older) == (["n1", "n2"], True)
        assert await share.log(DIRECTORY, reading)
    assert (names(reading), reading.is_older) == (["n1", "n2", "n3"], False)
    assert scripted.requests[-1].headers["range"] == f"bytes={len(HEADER + lines(1))}-"


async def test_a_cache_that_knows_the_last_line_and_no_more(scripted: ScriptedServer) -> None:
    """What is behind is no failure: there is nothing new."""
    scripted.route(PATH, ranged(HEADER + lines(1, 2)))
    reading = LogReading()
    async with opened(scripted.url) as share:
        assert await share.log(DIRECTORY, reading)
        assert await share.log(DIRECTORY, reading)
    assert (names(reading), reading.is_older) == (["n1", "n2"], False)


async def test_a_log_that_breaks_off_is_read_on(scripted: ScriptedServer) -> None:
    """What came of a long log is not asked for again."""
    log = HEADER + lines(*range(50))
    scripted.route(PATH, broken_off(log[:3000], len(log)), ranged(log))
    reading = LogReading()
    async with opened(scripted.url) as share:
        assert (await attempt_of(share.log(DIRECTORY, reading))).outcome is Outcome.UNREACHABLE
        assert 10 < len(reading.entries) < 50
        assert await share.log(DIRECTORY, reading)
    assert len(reading.entries) == 50
    assert scripted.sent < len(log) + 500


async def test_no_such_directory(scripted: ScriptedServer) -> None:
    """A directory that is absent, or was removed since, is told as such."""
    scripted.route(PATH, ok(HEADER), status(410))
    reading = LogReading()
    async with opened(scripted.url) as share:
        assert await share.log(DIRECTORY, reading)
        assert not await share.log(DIRECTORY, reading)
        assert not await share.log(Name("other"), LogReading())
        assert share.statistics().failures == {}


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(
    ("code", "outcome"), [(403, Outcome.REFUSED), (503, Outcome.BUSY), (500, Outcome.UNREACHABLE)]
)
async def test_errors(scripted: ScriptedServer, known: bool, code: int, outcome: Outcome) -> None:
    """An error is not an empty directory."""
    scripted.route(PATH, ok(HEADER), status(code))
    reading = LogReading()
    async with opened(scripted.url) as share:
        assert await share.log(DIRECTORY, reading)
        attempt = await attempt_of(share.log(DIRECTORY, reading if known else LogReading()))
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
        attempt = await attempt_of(share.log(DIRECTORY, LogReading()))
    assert attempt.outcome is outcome
    assert detail in attempt.detail


async def test_another_range_is_wrong(scripted: ScriptedServer) -> None:
    """The tail must begin where it was asked for."""
    scripted.route(PATH, ok(HEADER), partial(HEADER, f"bytes 5-{4 + len(HEADER)}/900"))
    reading = LogReading()
    async with opened(scripted.url) as share:
        assert await share.log(DIRECTORY, reading)
        attempt = await attempt_of(share.log(DIRECTORY, reading))
    assert (attempt.outcome, attempt.detail[:21]) == (Outcome.WRONG, "asked for bytes=0-, g")


async def test_an_endless_log_is_given_up(scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetching stops at the limit."""
    monkeypatch.setattr(log_tail, "MAX_LOG_BYTES", 1_000_000)
    scripted.route(PATH, endless(HEADER, lines(*range(1000))))
    async with opened(scripted.url) as share:
        attempt = await attempt_of(share.log(DIRECTORY, LogReading()))
    assert (attempt.outcome, attempt.detail) == (Outcome.WRONG, "log larger than 1000000 bytes")
    assert attempt.received < 3_000_000


async def test_a_log_that_is_too_large_is_not_begun(
    scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its length says so; the reason is told."""
    monkeypatch.setattr(client, "MAX_LOG_BYTES", 100)
    scripted.route(PATH, ok(HEADER + lines(1, 2)))
    async with opened(scripted.url) as share:
        attempt = await attempt_of(share.log(DIRECTORY, LogReading()))
    assert (attempt.kind, attempt.detail) == (Kind.LONG_BODY, "log larger than 100 bytes")


async def test_while_a_long_log_is_read_others_have_their_turn(scripted: ScriptedServer) -> None:
    """It is parsed in pieces, and between two of them the loop serves whoever waits."""
    scripted.route(PATH, ok(HEADER + lines(*range(20_000))))
    turns = 0
    async with opened(scripted.url, first_byte_timeout=5.0) as share, trio.open_nursery() as nursery:

        async def count() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        nursery.start_soon(count)
        reading = LogReading()
        assert await share.log(DIRECTORY, reading)
        nursery.cancel_scope.cancel()
    assert len(reading.entries) == 20_000
    assert turns >= reading.offset // client.PARSED_AT_ONCE
