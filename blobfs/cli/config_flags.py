"""A flag for everything that can be set, and what a refused configuration looks like.

The flags of a command that takes `setting_flags` arrive as keyword arguments, ready for `config.sources`: by
the names of their options, None where one was not given.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from blobfs.config.catalogue import OPTIONS, Setting
from blobfs.config.from_options import read_flags
from blobfs.config.kinds import Choice, FilePath
from blobfs.config.layers import refuse
from blobfs.config.settings import ShareSetting

_Command = TypeVar("_Command", bound=Callable[..., Any])

_HEADINGS: Mapping[str, str] = {
    "": "The node",
    "load": "Loading",
    "space": "Room on the disk",
    "serve": "Serving this node's share",
    "control": "Control",
}


class RefusedConfiguration(click.ClickException):
    """Wrong usage: every line of it is one mistake."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        for line in self.message.splitlines():
            click.echo(f"Error: {line}", file=file, err=file is None)


class SettingFlag(click.Option):
    """The flag of one setting. What it is given is judged where files and mount options are, too."""

    def __init__(self, _names: Sequence[str], *, setting: Setting) -> None:
        self.setting = setting
        name = f"{setting.flag}/--no-{setting.flag.removeprefix('--')}" if setting.is_switch else setting.flag
        kind = click.Path() if isinstance(setting.kind, FilePath) else None
        metavar = None if setting.is_switch else setting.kind.metavar
        super().__init__([name, setting.option], default=None, type=kind, metavar=metavar)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        name = self.setting.flag + (f" {self.metavar}" if self.metavar else "")
        return name, self.setting.meaning + self._usual()

    def _usual(self) -> str:
        if self.setting.default in (None, False):
            return ""
        usual = self.setting.kind.to_toml(self.setting.default)
        return f"  [default: {f'{usual:g}' if isinstance(usual, float) else usual}]"

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        if isinstance(self.setting.kind, Choice):
            return [CompletionItem(word) for word in self.setting.kind.words if word.startswith(incomplete)]
        return super().shell_complete(ctx, incomplete)


class SettingsCommand(click.Command):
    """Its help has a heading for each section of the settings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                heading = (
                    _HEADINGS[parameter.setting.section] if isinstance(parameter, SettingFlag) else "Options"
                )
                rows.setdefault(heading, []).append(record)
        for heading, records in rows.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def setting_flags(command: _Command) -> _Command:
    """Adds ``--config``, ``-o``, ``--share`` and a flag for each setting."""
    for setting in reversed(list(OPTIONS.values())):
        click.option(cls=SettingFlag, setting=setting)(command)
    for option in reversed(_OTHERS):
        option(command)
    return command


_OTHERS = (
    click.option("--config", type=click.Path(path_type=Path), metavar="FILE",
                 help="A configuration file. What is given beside it is stronger."),
    click.option("-o", "options", multiple=True, metavar="OPTS",
                 help="Mount options, separated by commas: KEY=VALUE for every flag below, with _ for -, "
                      "as in read_timeout=10; ro; and what libfuse takes."),
    click.option("--share", multiple=True, metavar="[GROUP=]URL",
                 help="A share to load from; may be repeated. Those of a group (1 if none is given) are "
                      "asked only when none of a lower one can help: --share 2=http://backup/. What else is "
                      "set for it stands behind the URL: --share 'https://a/ token_file=/etc/token'"),
    click.option("--plain-share", multiple=True, metavar="[GROUP=]URL",
                 help="A directory of plain files to load from. Nothing can verify them."),
)  # fmt: skip


def parse_share(text: str) -> ShareSetting:
    """What is typed after ``--share``. Raises `RefusedConfiguration`."""
    layer = read_flags({"share": [text]}, Path())
    if layer.mistakes:
        raise RefusedConfiguration(str(refuse(layer.mistakes)))
    (share,) = layer.shares
    return ShareSetting(**{name: given.value for name, given in share.values.items()})
