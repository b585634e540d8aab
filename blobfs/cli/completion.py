"""``blobfs completion``: what makes a shell complete commands, options, mountpoints and files."""

import click
from click.shell_completion import get_completion_class

VARIABLE = "_BLOBFS_COMPLETE"
"""By which a shell that completes tells blobfs so."""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes SHELL complete commands, options, mountpoints and files.

    It belongs into a file where the shell looks for it:

    \b
    bash  ~/.local/share/bash-completion/completions/blobfs
    zsh   _blobfs in a directory of $fpath
    fish  ~/.config/fish/completions/blobfs.fish
    """
    completing = get_completion_class(shell)
    assert completing is not None
    script = completing(ctx.find_root().command, {}, "blobfs", VARIABLE).source()
    click.echo(script.strip())
