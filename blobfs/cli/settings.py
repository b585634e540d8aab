"""Settings as they are written on the command line. Raises click's `UsageError`, which is one line.

What ``-o`` takes of loading follows from the fields of `LoadSettings`: a new one can be set at once.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, get_type_hints

import click

from blobfs.config.settings import Fill, LoadSettings, ShareSetting, SpaceSettings

_GROUPED = re.compile(r"([^=:/]*)=(.*)", re.DOTALL)


def parse_share(text: str, *, plain: bool = False) -> ShareSetting:
    """``URL`` or ``GROUP=URL``. The URL itself is for others to judge."""
    match = _GROUPED.fullmatch(text)
    if match is None:
        return ShareSetting(text, plain=plain)
    if not re.fullmatch(r"[1-9][0-9]{0,3}", match[1]):
        raise click.UsageError(f"a share's group is a number from 1 on, this is none: {match[1]!r}")
    return ShareSetting(match[2], plain=plain, group=int(match[1]))


def parse_load_option(key: str, value: str) -> Any:
    """The value of one of `LOAD_OPTIONS`."""
    try:
        return LOAD_OPTIONS[key](value)
    except ValueError as wrong:
        raise click.UsageError(f"-o {key}={value}: {wrong}") from None


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError("not a number") from None
    if not math.isfinite(number) or number < 0:
        raise ValueError("not a number from 0 on")
    return number


def parse_space_option(key: str, value: str) -> int:
    """The value of one of `SPACE_OPTIONS`, in bytes."""
    try:
        return _size(value)
    except ValueError as wrong:
        raise click.UsageError(f"-o {key}={value}: {wrong}") from None


def _size(text: str) -> int:
    """``10G``: bytes, or with K, M, G, T (and i, B behind it if you like) so many times 1024 of them."""
    match = re.fullmatch(r"([0-9]{1,15})(?:([KMGT])(?:i?B)?)?", text, re.IGNORECASE)
    if match is None:
        raise ValueError("not a size like 500M or 10G")
    return int(match[1]) << (10 * (" KMGT".index(match[2].upper()) if match[2] else 0))


def _whole_number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ValueError("not a whole number from 0 on")
    return int(text)


def _switch(text: str) -> bool:
    """Mount options that are switches stand alone."""
    if text in ("", "yes", "no"):
        return text != "no"
    raise ValueError("yes or no")


def _fill(text: str) -> Fill:
    if text not in list(Fill):
        raise ValueError(f"one of {', '.join(Fill)}")
    return Fill(text)


_PARSERS: Mapping[Any, Callable[[str], Any]] = {
    float: _number,
    int: _whole_number,
    bool: _switch,
    Fill: _fill,
}

LOAD_OPTIONS: Mapping[str, Callable[[str], Any]] = {
    name: _size if name == "scrub_rate" else _PARSERS[kind]
    for name, kind in get_type_hints(LoadSettings).items()
}
"""What ``-o`` understands of loading, as KEY=VALUE."""

SPACE_OPTIONS = tuple(field.name for field in fields(SpaceSettings))
"""What ``-o`` understands of the room on the disk, as KEY=SIZE."""
