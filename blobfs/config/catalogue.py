"""Everything that can be set, found in the fields of the settings: a new field can be set at once.

A setting has three names that follow from its field, here ``certificate`` of `ServeSettings`:

* in the file its key, ``serve.certificate``: the section and the field; at the top level the field alone;
* after ``-o``, ``serve_certificate=``. Of loading and of the room on the disk the field alone is enough, as
  in ``read_timeout=``; and ``listen=`` is the share's, as it always was;
* as a flag, ``--serve-certificate``.
"""

import ast
import inspect
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from blobfs.config.kinds import Kind, Switch, kind_of
from blobfs.config.settings import (
    ControlSettings,
    LoadSettings,
    NodeSettings,
    ServeSettings,
    ShareSetting,
    SpaceSettings,
)

DEFAULT_STORE = Path("/var/lib/blobfs")

SECTIONS: Mapping[str, type] = {
    "": NodeSettings,
    "load": LoadSettings,
    "space": SpaceSettings,
    "serve": ServeSettings,
    "control": ControlSettings,
}
"""The tables of the file; ``[[share]]`` is one more, as often as there are shares."""

SHARE = "share"

_OWN_OPTIONS = {"serve.listen": "listen"}
_PREFIXED = ("serve", "control")


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that can be set."""

    section: str
    name: str
    kind: Kind
    default: Any

    @property
    def key(self) -> str:
        return f"{self.section}.{self.name}" if self.section else self.name

    @property
    def option(self) -> str:
        name = f"{self.section}_{self.name}" if self.section in _PREFIXED else self.name
        return _OWN_OPTIONS.get(self.key, name)

    @property
    def flag(self) -> str:
        return f"--{self.option.replace('_', '-')}"

    @property
    def is_switch(self) -> bool:
        return isinstance(self.kind, Switch)

    @property
    def meaning(self) -> str:
        return meanings(ShareSetting if self.section == SHARE else SECTIONS[self.section])[self.name]


def _settings(section: str, values: type) -> dict[str, Setting]:
    hints = get_type_hints(values, include_extras=True)
    found = (
        Setting(section, field.name, kind_of(hints[field.name]), _default(field))
        for field in fields(values)
        if field.name not in SECTIONS and field.name != "shares"
    )
    return {setting.key: setting for setting in found}


def _default(field: Field[Any]) -> Any:
    if field.name == "store":
        return DEFAULT_STORE
    return None if field.default is MISSING else field.default


CATALOGUE: Mapping[str, Setting] = {
    key: setting
    for section, values in SECTIONS.items()
    for key, setting in _settings(section, values).items()
}
"""By key, but for the shares."""

SHARE_CATALOGUE: Mapping[str, Setting] = {
    setting.name: setting for setting in _settings(SHARE, ShareSetting).values()
}
"""What can be set for one share, by the name of its field."""

OPTIONS: Mapping[str, Setting] = {
    setting.option: setting
    for setting in CATALOGUE.values()
    if setting.key not in ("mountpoint", "fuse_options")
}
"""What ``-o`` understands, and with two dashes a flag. The mountpoint has its own place on the command line,
and what else stands after ``-o`` is for libfuse."""


@cache
def meanings(values: type) -> Mapping[str, str]:
    """What each field is for, as it says in its docstring, on one line."""
    (tree,) = ast.parse(inspect.getsource(values)).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(meaning))):
                found[name] = " ".join(meaning.replace("``", "`").split())
    return found
