"""``blobfs pin``, ``unpin``, ``evict``: what stays on a node and what goes. They ask its socket.

Exit codes: 0 done; 1 something could not be done, the rest is; 2 wrong usage.
"""

import json
import sys
from typing import Any

import click

from blobfs.cli.arguments import mountpoint_argument, names_argument
from blobfs.cli.load import load_paths, reasons, wanted_path
from blobfs.cli.targets import find_stores
from blobfs.cli.words import count, printable, size
from blobfs.control.client import touch
from blobfs.errors import BlobfsError

_Line = dict[str, Any]
_json_option = click.option("--json", "as_json", is_flag=True, help="For programs: what came of each name.")


@click.command()
@_json_option
@mountpoint_argument
@names_argument
def evict(mountpoint: str, names: tuple[str, ...], as_json: bool) -> None:
    """Drop the bytes of what the node on MOUNTPOINT has loaded. They are loaded again when they are read.

    NAME is a name or a path in MOUNTPOINT, the id of a blob or of a package. A directory is everything below
    it that may go. What this node has published stays, what is pinned and what somebody reads.
    """
    _touch("evict", mountpoint, names, as_json)


@click.command()
@_json_option
@mountpoint_argument
@names_argument
def pin(mountpoint: str, names: tuple[str, ...], as_json: bool) -> None:
    """Bring what each NAME means to the node on MOUNTPOINT, and never evict it.

    NAME is as for `blobfs load`. Of a directory that is what is below it now, not what will be.
    """
    _touch("pin", mountpoint, names, as_json)


@click.command()
@_json_option
@mountpoint_argument
@names_argument
def unpin(mountpoint: str, names: tuple[str, ...], as_json: bool) -> None:
    """What each NAME means may be evicted again from the node on MOUNTPOINT."""
    _touch("unpin", mountpoint, names, as_json)


def _touch(what: str, mountpoint: str, names: tuple[str, ...], as_json: bool) -> None:
    try:
        mounted, store = find_stores(mountpoint)[-1]
        wanted = {typed: wanted_path(mounted, mountpoint, typed) for typed in names}
        paths = list(dict.fromkeys(wanted.values()))
        lost = {}
        if what == "pin":
            ends = load_paths(store, paths, is_shown=sys.stderr.isatty() and not as_json)
            lost = {path: end for path, end in ends.items() if end["state"] != "done"}
        left = [path for path in paths if path not in lost]
        ends = lost | {end.pop("name"): end for end in (touch(store, what, left) if left else [])}
    except BlobfsError as error:
        raise click.ClickException(str(error)) from error
    found = [ends[path] | {"name": typed} for typed, path in wanted.items()]
    if as_json:
        click.echo(json.dumps(found, indent=2))
    for end in found:
        _tell(what, end, as_json)
    if any(end["state"] != "done" for end in found):
        raise SystemExit(1)


_DONE = {"pin": "pinned", "unpin": "unpinned", "evict": "evicted"}


def _tell(what: str, end: _Line, as_json: bool) -> None:
    if end["state"] != "done":
        told = f"Error: {end['name']}: {end['error']}{reasons(end.get('attempts', []))}"
        click.echo(printable(told), err=True)
    elif not as_json:
        blobs = f", {count(end['blobs'], 'blob')}" if end["kind"] == "directory" else ""
        freed = f", {size(end['bytes'])} freed" if what == "evict" else ""
        click.echo(printable(f"{_DONE[what]} {end['name']}{blobs}{freed}"))
        for reason, number in sorted(end["kept"].items()):
            click.echo(printable(f"  {count(number, 'blob')} left: {reason}"))
