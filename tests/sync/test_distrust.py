"""Shares that want to know who asks: which of them are the same one, and what the log says of them."""

import logging
from pathlib import Path
from typing import Any

import pytest
import trio.testing

from blobfs import errors
from blobfs.config.settings import LoadSettings, LoadTerms, ShareSetting
from blobfs.model import Attempt, Invalid, Kind
from blobfs.shares.address import Access, ShareOptions
from blobfs.shares.retry_rules import failed_attempt
from blobfs.store.opening import Store
from blobfs.sync import known_shares
from blobfs.sync.known_shares import share_options
from blobfs.sync.peer import SAID_FOR, Peer
from tests.sync.fake_share import FakeShare
from tests.sync.running import running

URL = "http://one/"
TOKEN = Path("/etc/token")


def test_all_that_is_set_for_a_share_is_used() -> None:
    """Nothing of it is lost on the way to who asks it."""
    access: dict[str, Any] = {
        "token_file": TOKEN,
        "ca_file": Path("/ca"),
        "client_certificate": Path("/mine"),
        "client_key": Path("/key"),
        "proxy": False,
    }
    assert share_options(ShareSetting("https://a", **access), LoadSettings()).access == Access(**access)
    basic = ShareSetting(URL, user="u", password_file=TOKEN)
    assert share_options(basic, LoadSettings()).access == Access(user="u", password_file=TOKEN)
    with pytest.raises(Invalid):
        share_options(ShareSetting(URL, user="u"), LoadSettings())


@pytest.fixture
def guests(monkeypatch: pytest.MonkeyPatch) -> list[ShareOptions]:
    """What calls have opened, beside the node's own shares."""
    opened: list[ShareOptions] = []

    def make(options: ShareOptions) -> FakeShare:
        opened.append(options)
        return FakeShare(options.url)

    monkeypatch.setattr(known_shares.KnownShares.__init__, "__defaults__", (make,))
    return opened


async def load_in_vain(sync: Any, *shares: ShareSetting) -> None:
    with pytest.raises(errors.AbsentEverywhere):
        await sync.load_blob("f", LoadTerms(known_shares=shares))


async def test_other_credentials_are_another_share(store: Store, guests: list[ShareOptions]) -> None:
    """Nobody reads with another one's token. A URL alone is the share that the node has there."""
    own = FakeShare(URL)
    own.options = ShareOptions(URL, access=Access(token_file=TOKEN))
    async with running(store, own) as sync:
        await load_in_vain(sync, ShareSetting(URL))
        await load_in_vain(sync, ShareSetting(URL, token_file=TOKEN))
        assert guests == []
        others = [
            ShareSetting(URL, token_file=Path("/other")),
            ShareSetting(URL, user="u", password_file=TOKEN),
            ShareSetting(URL, token_file=TOKEN, proxy=False),
        ]
        await load_in_vain(sync, *others)
        assert [options.access for options in guests] == [
            Access(token_file=Path("/other")),
            Access(user="u", password_file=TOKEN),
            Access(token_file=TOKEN, proxy=False),
        ]


async def test_a_call_whose_token_is_not_there(store: Store) -> None:
    """InvalidArgument, in one line; nothing stays open."""
    async with running(store) as sync:
        share = ShareSetting("http://share.invalid/", token_file=Path("/nonexistent/token"))
        with pytest.raises(errors.InvalidArgument, match="/nonexistent/token: No such file"):
            await sync.load_blob("f", LoadTerms(known_shares=(share,)))


# The log


def refused(status: int = 401, detail: str = "HTTP 401: its token is not accepted") -> Attempt:
    return failed_attempt(URL, "record", Kind.REFUSED, detail, status)


def untrusted() -> Attempt:
    return failed_attempt(URL, "record", Kind.TLS, "TLS: certificate expired on 2026-01-01")


@pytest.mark.parametrize(
    ("attempt", "line"),
    [
        (refused(), f"{URL} does not let this node in: HTTP 401: its token is not accepted (record)"),
        (refused(403, "HTTP 403"), f"{URL} does not let this node in: HTTP 403 (record)"),
        (untrusted(), f"{URL} cannot be asked: TLS: certificate expired on 2026-01-01 (record)"),
    ],
)
async def test_is_said_at_once_and_seldom(
    caplog: pytest.LogCaptureFixture, mock_clock: trio.testing.MockClock, attempt: Attempt, line: str
) -> None:
    """The first time it happens; after that once in five minutes, however often it happens."""
    peer = Peer(FakeShare(URL))
    for _ in range(2):
        caplog.clear()
        for _ in range(100):
            peer.record_failure(attempt)
        assert [text for text in caplog.messages if " is down" not in text] == [line]
        mock_clock.jump(SAID_FOR)


async def test_other_settings_are_a_new_beginning(caplog: pytest.LogCaptureFixture) -> None:
    """After a reload the share is asked at once, and what is still wrong is said again."""
    peer = Peer(FakeShare(URL))
    for _ in range(2):
        peer.record_failure(untrusted())
        peer.start_over()
        assert not peer.is_down()
    assert len(caplog.messages) == 2


async def test_what_is_forbidden_among_what_is_given_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    """A share may keep some of what it has to itself."""
    peer = Peer(FakeShare(URL))
    with caplog.at_level(logging.WARNING):
        with peer.asking():
            pass
        peer.record_failure(refused(403, "HTTP 403"))
        assert caplog.messages == []
        peer.record_failure(refused())
        assert len(caplog.messages) == 1


async def test_a_share_that_refuses_is_not_down() -> None:
    """It answers at once, so it is asked for other blobs as ever; one whose TLS fails is given a rest."""
    peer = Peer(FakeShare(URL))
    for _ in range(10):
        peer.record_failure(refused())
    assert not peer.is_down()
    peer.record_failure(untrusted())
    assert peer.is_down()
