"""``blobfs config``: what is wrong with configuration files; what is in force where several things say it."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from blobfs.cli.config_flags import RefusedConfiguration, SettingsCommand, setting_flags
from blobfs.config.show import show_json, show_toml
from blobfs.config.sources import read_sources
from blobfs.errors import ConfigRefused


@click.command("config", cls=SettingsCommand)
@click.option("--check", is_flag=True, help="Say what is wrong with each FILE: exit code 1 if anything is.")
@click.option(
    "--show", is_flag=True, help="Print the settings in force and where each stands, as a file again."
)
@click.option("--json", "as_json", is_flag=True, help="With --show: for programs.")
@setting_flags
@click.argument(
    "arguments", nargs=-1, metavar="--check FILE... | --show [MOUNTPOINT]", type=click.Path(path_type=Path)
)
def config(
    arguments: tuple[Path, ...],
    check: bool,
    show: bool,
    as_json: bool,
    config: Path | None,
    options: tuple[str, ...],
    **flags: Any,
) -> None:
    """Check configuration files, or show what is in force.

    --show takes what `blobfs mount` takes; with --config FILE it shows what the file leaves as it is, too.
    """
    if check == show or (check and not arguments) or (show and len(arguments) > 1):
        raise click.UsageError("either --check FILE..., or --show with what `blobfs mount` is given")
    if check:
        if (
            config is not None
            or options
            or as_json
            or any(given not in (None, ()) for given in flags.values())
        ):
            raise click.UsageError("--check is for files alone; --show judges all that is given together")
        _check(arguments)
        return
    try:
        reading = read_sources(arguments[0] if arguments else None, config, options, flags)
    except ConfigRefused as refused:
        raise RefusedConfiguration(str(refused)) from refused
    for warning in reading.warnings:
        click.echo(f"{warning.origin}: warning: {warning.text}", err=True)
    click.echo(json.dumps(show_json(reading), indent=2) if as_json else show_toml(reading), nl=as_json)


def _check(files: Iterable[Path]) -> None:
    """Mistakes and warnings on stderr, as compilers write theirs. Where to mount a file need not say."""
    is_wrong = False
    for file in files:
        try:
            warnings = read_sources(None, file, (), {}).warnings
        except ConfigRefused as refused:
            click.echo(str(refused), err=True)
            is_wrong = True
        else:
            for warning in warnings:
                click.echo(f"{warning.origin}: warning: {warning.text}", err=True)
    if is_wrong:
        raise SystemExit(1)
