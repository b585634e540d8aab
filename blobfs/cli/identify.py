"""``blobfs id``: blob ids of files, in sha256sum's format and with its manners.

A line is ``<blob-id>  <file>``. A name that holds a backslash, a newline or a carriage return is escaped
(``\\\\``, ``\\n``, ``\\r``) and its line begins with a backslash. ``--check`` reads such lines, also with
sha256sum's ``*`` for binary, and skips empty lines and those that begin with ``#``. What cannot be read is
named on stderr and the rest is still done. Exit codes: 0 all well, 1 not, 2 wrong usage.
"""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

import click

from blobfs.merkle import StreamHasher
from blobfs.model import BlobId, Invalid, parse_blob_id

T = TypeVar("T")

READ_SIZE = 1 << 20
"""Bytes of one read: large enough that hashing is all the time spent."""

_STDIN = b"-"
_LINE = re.compile(rb"(\\?)([0-9a-f]{64}) [ *]([^\0]+)\Z", re.DOTALL)
_ESCAPES = {b"\\": rb"\\", b"\n": rb"\n", b"\r": rb"\r"}
_UNESCAPES = {escape: char for char, escape in _ESCAPES.items()}


@click.command("id")
@click.option("-c", "--check", is_flag=True, help="Read blob ids from the FILEs and check them.")
@click.option("--quiet", is_flag=True, help="With --check: do not print OK for each file that matches.")
@click.option("--status", is_flag=True, help="With --check: print nothing, the exit code says it all.")
@click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path(path_type=bytes))
@click.pass_context
def identify(ctx: click.Context, check: bool, quiet: bool, status: bool, files: tuple[bytes, ...]) -> None:
    """Print or check blob ids, like sha256sum. Without FILE, or when FILE is -, read standard input."""
    if not check and (quiet or status):
        raise click.UsageError("--quiet and --status are meaningful only with --check")
    names = files or (_STDIN,)
    if check:
        failed = [name for name in names if not _check_list(name, quiet, status)]
    else:
        failed = [name for name in names if not _print_id(name)]
    ctx.exit(1 if failed else 0)


def identify_file(file: BinaryIO) -> BlobId:
    """The blob id of what is left to read of an open file."""
    hasher = StreamHasher()
    while chunk := file.read(READ_SIZE):
        hasher.append(chunk)
    return hasher.finish().root


def _print_id(name: bytes) -> bool:
    blob = _read(name, identify_file)
    if blob is None:
        return False
    shown = _escape(name)
    click.echo((b"" if shown == name else b"\\") + blob.encode() + b"  " + shown)
    return True


@dataclass(frozen=True, slots=True)
class _Listed:
    blob: BlobId
    name: bytes


@dataclass(slots=True)
class _Tally:
    """What became of the lines of one list; `_check_list` counts, nobody else."""

    listed: int = 0
    malformed: int = 0
    unreadable: int = 0
    wrong: int = 0


def _check_list(list_name: bytes, quiet: bool, status: bool) -> bool:
    lines = _read(list_name, lambda file: file.readlines())
    if lines is None:
        return False
    tally = _Tally()
    for line in lines:
        _check_line(line.removesuffix(b"\n"), list_name, tally, quiet, status)
    if not tally.listed:
        _complain(list_name, "no properly formatted blob id lines found")
        return False
    if not status:
        _warn(tally.malformed, "line is improperly formatted", "lines are improperly formatted")
        _warn(tally.unreadable, "listed file could not be read", "listed files could not be read")
        _warn(tally.wrong, "computed blob id did NOT match", "computed blob ids did NOT match")
    return not (tally.unreadable or tally.wrong)


def _check_line(line: bytes, list_name: bytes, tally: _Tally, quiet: bool, status: bool) -> None:
    if not line or line.startswith(b"#"):
        return
    listed = _parse_line(line)
    if listed is None or listed.name == list_name == _STDIN:  # a list cannot be its own file
        tally.malformed += 1
        return
    tally.listed += 1
    found = _read(listed.name, identify_file)
    if found is None:
        tally.unreadable += 1
        verdict = b"FAILED open or read"
    elif found != listed.blob:
        tally.wrong += 1
        verdict = b"FAILED"
    else:
        verdict = b"OK"
    if not status and not (quiet and verdict == b"OK"):
        shown = _escape(listed.name)
        click.echo((b"" if shown == listed.name else b"\\") + shown + b": " + verdict)


def _parse_line(line: bytes) -> _Listed | None:
    match = _LINE.match(line)
    if match is None:
        return None
    escaped, digits, name = match.groups()
    try:
        return _Listed(parse_blob_id(digits.decode()), _unescape(name) if escaped else name)
    except Invalid:
        return None


def _read(name: bytes, reader: Callable[[BinaryIO], T]) -> T | None:
    """None when the file cannot be read, which has been said."""
    try:
        if name == _STDIN:
            return reader(sys.stdin.buffer)
        with open(name, "rb") as file:
            return reader(file)
    except OSError as error:
        _complain(name, error.strerror or str(error))
        return None


def _escape(name: bytes) -> bytes:
    return re.sub(rb"[\\\n\r]", lambda match: _ESCAPES[match[0]], name)


def _unescape(name: bytes) -> bytes:
    """Raises `Invalid` for an escape that `_escape` does not write."""
    if re.fullmatch(rb"(?:[^\\]|\\[\\nr])+", name) is None:
        raise Invalid(f"not an escaped name: {name!r}")
    return re.sub(rb"\\.", lambda match: _UNESCAPES[match[0]], name)


def _warn(count: int, one: str, many: str) -> None:
    if count:
        click.echo(f"blobfs id: WARNING: {count} {one if count == 1 else many}", err=True)


def _complain(name: bytes, reason: str) -> None:
    shown = b"standard input" if name == _STDIN else _escape(name)
    click.echo(b"blobfs id: " + shown + f": {reason}".encode(), err=True)
