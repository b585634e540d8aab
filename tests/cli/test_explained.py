"""What ``blobfs why`` says in words."""

from dataclasses import asdict, replace
from typing import Any

import pytest

from blobfs.cli.explained import describe
from blobfs.model import Kind
from blobfs.record import DirRecord, SymlinkRecord, record_fields
from blobfs.shares.retry_rules import failed_attempt
from blobfs.sync.explanation import (
    BeingWritten,
    Explanation,
    LoadUnderWay,
    RequestUnderWay,
    ShareWord,
    Told,
)

REFUSED = failed_attempt("http://a/", "blob", Kind.CONNECT_REFUSED, "connection refused", ms=2)
SHARE = ShareWord("http://a/", False, 1, None, None, None, "closed", None, None, None, None, None, None)
NOTHING = Explanation(
    name="f",
    blob=None,
    is_known=False,
    kind=None,
    origin=None,
    state=None,
    size=None,
    present=None,
    record=None,
    writing=None,
    load=None,
    last_error=None,
    lookup=None,
    lookup_of=None,
    absent_ago=None,
    absent_of=None,
    shares=(),
)
FILE = replace(NOTHING, is_known=True, kind="file", origin="shares", state="missing", size=2048, present=0)
UNREACHABLE = Told("EHOSTUNREACH", "EHOSTUNREACH: no share that may have it can be reached", 3, (REFUSED,))


def lines(found: Explanation, *, read_only: bool = False) -> list[str]:
    shown: dict[str, Any] = {"mountpoint": "/mnt", "read_only": read_only, **asdict(found)}
    return describe(shown)


@pytest.mark.parametrize(
    ("found", "headline"),
    [
        (NOTHING, "f: nothing is known of it; no share was asked"),
        (FILE, "f: a file, on the shares, missing, 2.0 KiB"),
        (
            replace(FILE, state="partial", present=1024),
            "f: a file, on the shares, partial: 1.0 KiB of 2.0 KiB are here",
        ),
        (
            replace(FILE, origin="own", state="writing", present=3, writing=BeingWritten(2, None)),
            "f: a file, of this node, being written (2 writers), 3 bytes so far",
        ),
        (
            replace(FILE, origin="own", state="writing", present=3, writing=BeingWritten(0, None)),
            "f: a file, of this node, being written (closed, not sealed yet), 3 bytes so far",
        ),
        (
            replace(NOTHING, kind="symlink", origin="own", record=record_fields(SymlinkRecord("g", 1, 1))),
            "f: a symlink of this node, to g",
        ),
        (
            replace(NOTHING, kind="directory", origin="own", record=record_fields(DirRecord(1, 1))),
            "f: a directory of this node",
        ),
        (replace(NOTHING, kind="removed", origin="own"), "f: removed, by this node"),
        (
            replace(NOTHING, absent_ago=2, absent_of="f", is_known=True),
            "f: no share has it: all of them said so 2 s ago (ENOENT)",
        ),
        (
            replace(NOTHING, absent_ago=2, absent_of="d", is_known=True, name="d/f"),
            "d/f: no share has the directory d: all of them said so 2 s ago (ENOENT)",
        ),
        (
            replace(NOTHING, lookup=UNREACHABLE, lookup_of="f", absent_ago=9, absent_of="f", is_known=True),
            "f: what it is could not be found out",
        ),
        (
            replace(NOTHING, name=None, blob="ab", kind="blob", state="whole", size=1, present=1),
            ".blobfs/blobs/ab: a blob, whole, 1 byte",
        ),
        (replace(NOTHING, last_error=UNREACHABLE, is_known=True), "f: it could not be loaded"),
    ],
)
def test_the_first_line(found: Explanation, headline: str) -> None:
    """What it is, where it is from, and how much of it is here."""
    assert lines(found)[0] == headline


def test_a_failed_lookup_says_what_the_caller_was_told() -> None:
    """On a writable mount that was ENOENT (P4); the attempts follow."""
    found = replace(NOTHING, lookup=UNREACHABLE, lookup_of="f", is_known=True)
    writable, read_only = lines(found), lines(found, read_only=True)
    assert writable[1].endswith("can be reached; as the mount is writable, its caller was told ENOENT")
    assert read_only[1].endswith("EHOSTUNREACH: no share that may have it can be reached")
    assert writable[2].strip() == "http://a/ blob: connection refused (connect-refused, 2 ms)"


def test_requests_under_way() -> None:
    """Each with its share and its silence; many are cut."""
    waiting = RequestUnderWay(0, 131072, "reader")
    asked = replace(waiting, share="http://a/", asked_ago=2.0, silent_for=1.5, received=1024)
    load = LoadUnderWay(1, (waiting, *[asked] * 9), (), ("f",))
    shown = lines(replace(FILE, load=load))
    assert shown[1] == "  loading   1 reader, 10 requests under way"
    assert shown[2].strip() == "bytes 0 to 131072 (reader): waits for a share"
    assert shown[3].strip() == "bytes 0 to 131072 (reader): http://a/, 1.0 KiB in 2 s, silent for 1.5 s"
    assert shown[-1].strip() == "and 2 more"


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (SHARE, "not asked yet"),
        (replace(SHARE, answered_ago=1.0), "up"),
        (replace(SHARE, circuit="open", next_try_in=2.0), "down, tried again in 2 s (circuit open)"),
        (replace(SHARE, circuit="half-open"), "may be down still (circuit half-open)"),
        (
            replace(SHARE, last_failure=REFUSED, failed_ago=4.0),
            "up; last failed 4 s ago: connection refused (blob, connect-refused)",
        ),
        (
            replace(SHARE, answered_ago=1.0, struck_for="ab: bytes 0 to 9"),
            "up; sent wrong bytes: ab: bytes 0 to 9",
        ),
        (replace(SHARE, answered_ago=1.0, verdict=REFUSED), "up; not asked again for it: connection refused"),
        (
            replace(SHARE, answered_ago=1.0, log_read_ago=3.0, log_failure=REFUSED),
            "up; its listing was read 3 s ago; its listing could not be read: connection refused",
        ),
    ],
)
def test_a_share_is_one_line(share: ShareWord, words: str) -> None:
    """Whether it is up, what it has, what went wrong."""
    assert lines(replace(NOTHING, shares=(share,)))[1:] == [f"  share     http://a/  {words}"]


def test_what_a_terminal_would_obey() -> None:
    """Comes from shares, and is shown as what it is."""
    evil = "a\x1b[2J\nb\u202e"
    failed = replace(SHARE, last_failure=replace(REFUSED, detail=evil), failed_ago=4.0)
    shown = lines(replace(NOTHING, name=evil, shares=(failed,)))
    assert all(line.isprintable() for line in shown)
