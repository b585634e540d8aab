"""``blobfs load``: brings names, blobs and packages to a node, whole. Asks its socket, never its mount.

Exit codes: 0 all of it is here; 1 something could not be loaded, the rest is; 2 wrong usage; 130 interrupted.
"""

import json
import posixpath
from functools import partial
from pathlib import Path
from typing import Any

import click

from blobfs.cli.arguments import mountpoint_argument, names_argument
from blobfs.cli.bars import Bar, drawing, progress_option, wants_bar
from blobfs.cli.load_progress import Deliveries, Totals
from blobfs.cli.targets import find_name, find_stores
from blobfs.cli.words import count, printable, size
from blobfs.control.client import fetch_status, loading
from blobfs.errors import BlobfsError, StartRefused
from blobfs.model import RESERVED_PREFIX, Invalid, parse_name

MOST_ATTEMPTS = 3
"""Shares whose last words an error repeats; the JSON has all."""

_Line = dict[str, Any]


class Interrupted(click.ClickException):
    exit_code = 130


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs: what came of each name, as JSON.")
@progress_option
@mountpoint_argument
@names_argument
def load(mountpoint: str, names: tuple[str, ...], as_json: bool, progress: bool | None) -> None:
    """Bring what each NAME means to the node on MOUNTPOINT, so that reading it needs no share.

    NAME is a name or a path in MOUNTPOINT, the id of a blob or of a package. A directory is everything below
    it. What has been here before, or arrived before an interruption, is not loaded again.
    """
    try:
        mounted, store = find_stores(mountpoint)[-1]
        wanted = {typed: wanted_path(mounted, mountpoint, typed) for typed in names}
        ends = load_paths(store, list(wanted.values()), is_shown=wants_bar(progress))
    except BlobfsError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        raise Interrupted("interrupted; what has arrived stays, the same command loads the rest") from None
    found = [ends[path] | {"name": typed} for typed, path in wanted.items()]
    if as_json:
        click.echo(json.dumps(found, indent=2))
    for end in found:
        _tell(end, as_json)
    if any(end["state"] != "done" for end in found):
        raise SystemExit(1)


def wanted_path(mounted: str, mountpoint: str, typed: str) -> str:
    """As the node is told. Raises `UsageError` for what cannot be in the mount."""
    path = find_name(mounted, typed)
    if path is None:
        raise click.UsageError(f"{typed} is not in {mountpoint}")
    place = posixpath.normpath(path)
    try:
        if place != "." and place.partition("/")[0] != RESERVED_PREFIX:
            parse_name(place)
    except Invalid as wrong:
        raise click.UsageError(str(wrong)) from wrong
    return path


def load_paths(store: Path, paths: list[str], *, is_shown: bool) -> dict[str, _Line]:
    """What came of each. Raises `StartRefused` when the node cannot be asked."""
    ends: dict[str, _Line] = {}
    totals = Totals()
    bar = Bar("loading", totals, totals.__str__, Deliveries(partial(fetch_status, store)).__str__)
    with loading(store, paths) as lines, drawing(bar, is_shown) as draw:
        try:
            for line in lines:
                name = line.pop("name")
                totals.note(name, line)
                draw()
                if line["state"] != "loading":
                    ends[name] = line
        except StartRefused as failure:  # the node has ended
            lost = {"state": "failed", "error": str(failure), "errno": "ESHUTDOWN", "attempts": []}
            ends = dict.fromkeys(paths, lost) | ends
    return ends


def _tell(end: _Line, as_json: bool) -> None:
    if end["state"] != "done":
        click.echo(printable(f"Error: {end['name']}: {end['error']}{reasons(end['attempts'])}"), err=True)
    elif not as_json:
        click.echo(printable(f"loaded {end['name']}: {_amount(end)}"))


def _amount(end: _Line) -> str:
    files = "" if end["kind"] == "blob" else f"{count(end['files'], 'file')}, "
    came = f"{size(end['loaded_bytes'])} from shares" if end["loaded_bytes"] else "all of it was here"
    return f"{files}{size(end['bytes'])} ({came})"


def reasons(attempts: list[_Line]) -> str:
    """What each share did last."""
    last = {attempt["share"]: attempt["detail"] for attempt in attempts}
    told = [f"{share}: {detail}" for share, detail in last.items()][:MOST_ATTEMPTS]
    return f" ({'; '.join(told)})" if told else ""
