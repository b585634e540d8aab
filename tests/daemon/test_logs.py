"""Where a line of the log goes, and in which form."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from blobfs.daemon.logs import FileFormat, TerminalFormat, journal_fields, note_request
from blobfs.requests import begin_request, current_request, end_request

PROGRAM = """
import logging
from blobfs.config.settings import LogLevel
import pytest

from blobfs.daemon.logs import set_up_logging
set_up_logging(LogLevel.INFO, "/srv/x")
logging.getLogger("blobfs.shares.exchange").warning("it is %s", "down")
logging.getLogger("blobfs.shares.exchange").debug("not shown")
logging.getLogger("hypercorn").info("not shown")
"""


def record(level: int = logging.INFO, failure: BaseException | None = None) -> logging.LogRecord:
    found = None if failure is None else (type(failure), failure, failure.__traceback__)
    made = logging.LogRecord("blobfs.sync.load", level, "load.py", 7, "%s is here", ("x",), found, "run")
    assert note_request(made)
    return made


def test_a_line_in_a_file():
    """Date, level, logger, text; and the request, if it was made for one."""
    assert FileFormat().format(record()).endswith(" INFO blobfs.sync.load: x is here")
    token = begin_request()
    try:
        assert (
            FileFormat().format(record()).endswith(f" INFO blobfs.sync.load: x is here [{current_request()}]")
        )
    finally:
        end_request(token)


def test_a_line_on_a_terminal():
    """What is usual stands alone, the rest says what it is, in colour."""
    assert TerminalFormat().format(record())[8:] == " x is here (sync.load)"
    assert TerminalFormat().format(record(logging.WARNING))[8:] == (
        " \x1b[33mwarning: \x1b[0mx is here (sync.load)"
    )


def test_fields_of_the_journal():
    """Text, priority, logger, place in the code, request and traceback; nothing that is not there."""
    fields = journal_fields(record(logging.WARNING))
    assert fields == {
        "MESSAGE": "x is here",
        "PRIORITY": 4,
        "SYSLOG_IDENTIFIER": "blobfs",
        "LOGGER": "blobfs.sync.load",
        "CODE_FILE": "load.py",
        "CODE_LINE": 7,
        "CODE_FUNC": "run",
    }
    token = begin_request()
    failed = journal_fields(record(logging.ERROR, ValueError("odd")))
    request = current_request()
    end_request(token)
    assert failed["BLOBFS_REQUEST"] == request
    assert failed["PRIORITY"] == 3
    assert failed["TRACEBACK"] == "ValueError: odd"
    assert failed["MESSAGE"] == "x is here\nValueError: odd"
    assert [journal_fields(record(level))["PRIORITY"] for level in (10, 25, 50)] == [7, 6, 2]


def test_every_request_has_its_own_id():
    """One within another does not change the outer one's, and after it there is none."""
    assert current_request() is None
    outer = begin_request()
    first = current_request()
    inner = begin_request()
    assert current_request() not in (None, first)
    end_request(inner)
    assert current_request() == first
    end_request(outer)
    assert current_request() is None


def test_a_program_that_logs_into_a_pipe():
    """What is below the level, and what libraries say, is left out."""
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=30, check=True
    )
    (line,) = found.stderr.splitlines()
    assert line.endswith(" WARNING blobfs.shares.exchange: it is down")


def test_another_stderr_is_not_the_journal(tmp_path: Path):
    """JOURNAL_STREAM names the stream that systemd made; a file that stderr was turned to since is none."""
    with (tmp_path / "log").open("wb") as log:
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "JOURNAL_STREAM": "1:2"},
            stderr=log,
            timeout=30,
            check=True,
        )
    assert (tmp_path / "log").read_text().endswith(" WARNING blobfs.shares.exchange: it is down\n")


@pytest.mark.parametrize("form", [FileFormat(), TerminalFormat()])
def test_what_comes_from_elsewhere_makes_no_line(form: FileFormat):
    """A file's name may hold anything: it forges no line of the log, and a terminal does not obey it."""
    evil = "a\n2026-01-02 03:04:05,678 ERROR all is lost\x1b[2J"
    try:
        raise OSError(evil)
    except OSError as error:
        made = record(failure=error)
    made.msg, made.args = "cannot seal %s", (evil,)
    first, *traceback = form.format(made).split("\n")
    assert r"cannot seal a\n2026-01-02 03:04:05,678 ERROR all is lost\x1b[2J" in first
    assert all(line.isprintable() for line in traceback)
    assert traceback[0] == "Traceback (most recent call last):"
    fields = journal_fields(made)
    assert fields["MESSAGE"].split("\n")[0].endswith(r"all is lost\x1b[2J")
    assert "\x1b" not in fields["MESSAGE"] + fields["TRACEBACK"]
