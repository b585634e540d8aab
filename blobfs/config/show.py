"""The settings in force and where each stands: as TOML that can be a file again, and for programs.

No secret is shown. Settings tell the files that secrets are in; of a URL its credentials are left out.
"""

import json
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from blobfs.config.addresses import without_credentials
from blobfs.config.catalogue import CATALOGUE, SECTIONS, SHARE_CATALOGUE, Setting
from blobfs.config.files import is_credential
from blobfs.config.kinds import FilePath
from blobfs.config.layers import DEFAULT, Given, GivenShare
from blobfs.config.sources import Reading

_COLUMN = 44
"""Where the remarks begin."""


def show_toml(reading: Reading) -> str:
    """One setting a line, in the order of the catalogue, what is not set among them as a remark."""
    lines: list[str] = []
    for section in SECTIONS:
        if section:
            lines += ["", f"[{section}]"]
        lines += [_line(setting, given) for setting, given in _in_section(reading, section)]
    for share in reading.merged.shares:
        lines += ["", "[[share]]"]
        lines += [_line(SHARE_CATALOGUE[name], given) for name, given in _of_share(share)]
    return "\n".join(lines) + "\n"


def show_json(reading: Reading) -> dict[str, Any]:
    """For programs: `settings` by key, `shares` by field, each with its value and where it stands."""
    settings = (pair for section in SECTIONS for pair in _in_section(reading, section))
    return {
        "settings": {setting.key: _entry(setting, given) for setting, given in settings},
        "shares": [
            {name: _entry(SHARE_CATALOGUE[name], given) for name, given in _of_share(share)}
            for share in reading.merged.shares
        ],
        "warnings": [str(warning) for warning in reading.warnings],
    }


def _in_section(reading: Reading, section: str) -> Iterator[tuple[Setting, Given]]:
    for key, setting in CATALOGUE.items():
        if setting.section == section:
            yield setting, reading.merged.values.get(key, Given(setting.default, DEFAULT))


def _of_share(share: GivenShare) -> Iterator[tuple[str, Given]]:
    for name, setting in SHARE_CATALOGUE.items():
        if name in share.values or setting.default is not None:
            yield name, share.values.get(name, Given(setting.default, DEFAULT))


def _line(setting: Setting, given: Given) -> str:
    if given.value is None:
        return f"# {setting.name} is not set"
    remark = given.origin.spot
    if setting.name == "url" and "@" in urlsplit(given.value).netloc:
        remark += ", without its credentials"
    return f"{f'{setting.name} = {_toml(_plain(setting, given.value))}':<{_COLUMN}}  # {remark}"


def _entry(setting: Setting, given: Given) -> dict[str, Any]:
    value = None if given.value is None else _plain(setting, given.value)
    return {"value": value, "origin": given.origin.spot}


def _plain(setting: Setting, value: Any) -> Any:
    """As the file has it, and readable from anywhere."""
    if isinstance(setting.kind, FilePath):
        return str(value) if is_credential(value) else os.path.abspath(value)
    plain = setting.kind.to_toml(value)
    return without_credentials(plain) if setting.name == "url" else plain


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False)  # its strings, of printable text, are TOML's
