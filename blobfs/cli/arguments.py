"""Arguments that many commands take, and how a shell completes them.

None is a `click.Path`: that one looks at what it is given (stat(2)), and a mount whose daemon hangs answers
nobody. Completion asks the kernel's mount table only.
"""

import os
import re
from collections.abc import Iterator

import click
from click.shell_completion import CompletionItem

from blobfs.fuse.mountinfo import FS_TYPE, read_mounts

_PLAIN = re.compile(r"[\w@%+=:,./~-]+")
"""What a shell takes as it is. It is given completions as words of its language, and anybody can mount, with
fusermount3, what calls itself blobfs on a directory called ``x;command``."""


def complete_mountpoint(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What is mounted, as it was begun to be typed: absolute, from the home directory, or from here."""
    mounted = [mount.mount_point for mount in read_mounts() if mount.fs_type == FS_TYPE]
    written = dict.fromkeys(path for each in mounted for path in _ways_to_write(each))
    return [
        CompletionItem(path) for path in written if path.startswith(incomplete) and _PLAIN.fullmatch(path)
    ]


def _ways_to_write(path: str) -> Iterator[str]:
    yield path
    for start, shown in ((os.path.expanduser("~"), "~/"), (os.getcwd(), ""), (os.getcwd(), "./")):
        below = path.removeprefix(start.rstrip("/") + "/")
        if below != path:
            yield shown + below


def complete_file(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The shell completes files by itself, also those in a mount."""
    return [CompletionItem(incomplete, type="file")]


def complete_directory(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="dir")]


mountpoint_argument = click.argument("mountpoint", shell_complete=complete_mountpoint)
names_argument = click.argument(
    "names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_file
)
