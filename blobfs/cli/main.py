"""The command ``blobfs`` and its errors: one line each, exit code 1, or 2 for wrong usage.

A command is imported when it is called: what mounts and serves takes a quarter of a second to import, and
``blobfs id`` in a shell's loop must not wait for that. So the names of the commands, and what ``--help``
says of each, stand here.
"""

import contextlib
import errno
import gc
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import NamedTuple

import click
from click.shell_completion import CompletionItem

from blobfs.cli.words import printable_lines


class _Place(NamedTuple):
    module: str
    attribute: str
    summary: str
    """Empty for what people do not call."""


_COMMANDS = {
    "abort": _Place("abort", "abort", "Free a mount that is stuck."),
    "completion": _Place("completion", "completion", "Print what makes a shell complete blobfs."),
    "config": _Place("config", "config", "Check a configuration, or show the one in force."),
    "evict": _Place("keep", "evict", "Drop the bytes of what a node has loaded."),
    "id": _Place("identify", "identify", "Print or check blob ids, like sha256sum."),
    "load": _Place("load", "load", "Bring names, blobs and packages to a node, whole."),
    "mount": _Place("mount", "mount", "Share what is written to a directory, load what is missing there."),
    "mount-fstab": _Place("mount_fstab", "mount_fstab", ""),
    "mounter": _Place("mounter", "mounter", ""),
    "pack": _Place("pack", "pack", "Publish a tree of files as a package."),
    "pin": _Place("keep", "pin", "Bring names, blobs and packages to a node, and keep them there."),
    "reload": _Place("reload", "reload", "Have a node read its settings again."),
    "serve": _Place("serve", "serve", "Serve a store's share over HTTP, without a mount."),
    "status": _Place("status", "status", "Show what a node is doing."),
    "unmount": _Place("unmount", "unmount", "Unmount a blobfs mount."),
    "unmounter": _Place("unmounter", "unmounter", ""),
    "unpin": _Place("keep", "unpin", "Let what was pinned be evicted again."),
    "verify": _Place("verify", "verify", "Check what a store holds, and mend it."),
    "why": _Place("why", "why", "Show what is known of a name, and what went wrong last."),
}
"""By the name that is typed; modules are in `blobfs.cli`."""


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """Around imports, which make much and leave no garbage: looking for it is a tenth of their time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Commands(click.Group):
    """The commands; what the system refuses them is one line as well."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(name for name, place in _COMMANDS.items() if place.summary)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = _COMMANDS.get(cmd_name)
        if place is None:
            return None
        with _without_collections():
            command = getattr(import_module(f"blobfs.cli.{place.module}"), place.attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name].summary) for name in self.list_commands(ctx)])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Without an import of every command, which click would do to see whether it is hidden."""
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        found = [CompletionItem(name, help=_COMMANDS[name].summary) for name in names]
        return found or click.Command.shell_complete(self, ctx, incomplete)

    def invoke(self, ctx: click.Context) -> object:
        try:
            found = super().invoke(ctx)
            sys.stdout.flush()  # a full disk is noticed here, or nowhere
            return found
        except click.ClickException as refused:
            # It may quote a name, or a node. Click means it to be final.
            vars(refused)["message"] = printable_lines(refused.message)
            raise
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # click ends quietly then: the reader has seen enough
            raise click.ClickException(error.strerror or str(error)) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="blobfs")
def main() -> None:
    """A file system that shares what is written to it and loads what is read from it."""
