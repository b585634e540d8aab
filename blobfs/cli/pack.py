"""``blobfs pack``: publishes a tree of files as a package, by writing to a mount like any program.

1. The tree is listed; everything in it that cannot be packed is named, and then nothing is published.
2. Every file is hashed. The manifest follows from the tree alone, so the same tree has the same id, whoever
   packs it, wherever and when.
3. What the mount misses is written, through the package's transaction (`pack_publish`).
4. With ``--name`` a symlink gives it a name.

Exit codes: 0 published, or published already; 1 not; 2 wrong usage; 130 interrupted.
"""

import json
import os
import re
from collections.abc import Sequence

import click

from blobfs.cli.arguments import complete_directory, mountpoint_argument
from blobfs.cli.bars import Bar, drawing, progress_option, wants_bar
from blobfs.cli.pack_hash import hash_files, total_size
from blobfs.cli.pack_name import PackageName
from blobfs.cli.pack_package import Package, make_package
from blobfs.cli.pack_problems import Problem, describe, shown
from blobfs.cli.pack_progress import Progress
from blobfs.cli.pack_publish import Publisher, interrupts_tell
from blobfs.cli.pack_scan import Place, scan_tree
from blobfs.cli.pack_source import Source, SourceFailed
from blobfs.cli.pack_transaction import Transaction
from blobfs.cli.targets import find_stores
from blobfs.errors import BlobfsError
from blobfs.manifest import FIRST_SECOND, LAST_SECOND
from blobfs.model import Invalid

THREADS = 16
"""Blobs that are written at a time: the mount verifies and stores one while the next ones come."""

_SECONDS = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,9}))?")
_NS = 1_000_000_000


def _parse_mtime(ctx: click.Context, option: click.Parameter, text: str | None) -> int | None:
    """Nanoseconds since the epoch."""
    if text is None:
        return None
    match = _SECONDS.fullmatch(text)
    if match is None:
        raise click.BadParameter(f"{text} is no number of seconds")
    found = int(match[2]) * _NS + int((match[3] or "").ljust(9, "0"))
    found = -found if match[1] else found
    if not FIRST_SECOND <= found // _NS <= LAST_SECOND:
        raise click.BadParameter(f"{text} is outside the years 1 to 9999")
    return found


@click.command()
@click.option(
    "--name", metavar="NAME", help="Make this name in the mount, or let it mean this package from now on."
)
@click.option(
    "--mtime", "mtime_ns", metavar="SECONDS", callback=_parse_mtime,
    help="The time of all files, in seconds since 1970: for trees that are built anew elsewhere.",
)  # fmt: skip
@click.option(
    "--jobs", type=click.IntRange(1, 256), default=THREADS, show_default=True, help="Files written at a time."
)
@progress_option
@click.option(
    "--json", "as_json", is_flag=True, help="For programs: id, files, blobs, bytes, written (bytes), name."
)
@mountpoint_argument
@click.argument(
    "directory", metavar="DIR", type=click.Path(path_type=bytes), shell_complete=complete_directory
)
def pack(
    mountpoint: str,
    directory: bytes,
    name: str | None,
    mtime_ns: int | None,
    jobs: int,
    progress: bool | None,
    as_json: bool,
) -> None:
    """Publish the tree of files in DIR as a package and print its id.

    What MOUNTPOINT has already is not written again, so the same command goes on where it was interrupted.
    The id depends on names, contents, modes and times in DIR alone, not on who packs it, where or when.
    """
    mounted, place = _find_mount(mountpoint)
    wanted = PackageName(mounted, name) if name is not None else None
    show_progress = wants_bar(progress)
    with _open_source(directory) as source:
        with interrupts_tell("nothing was published"):
            if wanted is not None:
                wanted.demand_free()
            package = _read(source, directory, place, mtime_ns, show_progress)
        written = _publish(mounted, source, directory, package, jobs, show_progress)
    if wanted is not None:
        with interrupts_tell(f"{package.id} is published, without a name"):
            wanted.point_to(package.id)
    if not as_json:
        click.echo(package.id)
        return
    facts = {
        "id": package.id,
        "files": package.files,
        "blobs": len(package.holders),
        "bytes": total_size(package.holders.values()),
        "written": written,
        "name": None if wanted is None else wanted.name,
    }
    click.echo(json.dumps(facts))


def _find_mount(mountpoint: str) -> tuple[str, Place]:
    try:
        mounted, _ = find_stores(mountpoint)[-1]
        root = os.stat(mounted)
    except BlobfsError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{mountpoint}: {error.strerror or error}") from error
    return mounted, (root.st_dev, root.st_ino)


def _open_source(directory: bytes) -> Source:
    try:
        return Source(directory)
    except OSError as error:
        raise click.ClickException(f"{shown(directory)}: {error.strerror or error}") from error


def _read(
    source: Source, directory: bytes, mount: Place, mtime_ns: int | None, show_progress: bool
) -> Package:
    """The package that the tree is. Raises `ClickException` when it cannot be one."""
    tree = scan_tree(source, mount, keeps_times=mtime_ns is None)
    if tree.problems:
        raise _refused(tree.problems, directory)
    progress = Progress(len(tree.files), total_size(tree.files))
    with drawing(Bar("hashing", progress, progress.files_text), show_progress) as draw:
        blobs, problems = hash_files(source, tree.files, progress, draw)
    if problems:
        raise _refused(problems, directory)
    try:
        return make_package(tree, blobs, mtime_ns)
    except Invalid as wrong:
        raise click.ClickException(f"{shown(directory)}: {wrong}") from wrong


def _publish(
    mounted: str, source: Source, directory: bytes, package: Package, jobs: int, show_progress: bool
) -> int:
    """How many bytes were written."""
    publisher = Publisher(Transaction(mounted, package.id), source, package, jobs, show_progress)
    try:
        publisher.run()
    except SourceFailed as failure:
        raise _refused([failure.problem], directory) from failure
    return publisher.written


def _refused(problems: Sequence[Problem], directory: bytes) -> click.ClickException:
    for line in describe(problems, directory):
        click.echo(f"blobfs pack: {line}", err=True)
    return click.ClickException("nothing was published")
