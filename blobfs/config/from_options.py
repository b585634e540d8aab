"""What was typed: flags of the command, and mount options after ``-o``.

Mount options stand between commas. A comma that belongs to a value has a backslash before it, or the value
stands in quotes, as mount(8) understands it; in a URL ``%2C`` does as well. What is not blobfs' own is for
libfuse, if it knows it; what fstab(5) says to others is dropped.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from blobfs.config.addresses import shown_of_refused
from blobfs.config.catalogue import OPTIONS, SHARE_CATALOGUE, Setting
from blobfs.config.guessing import did_you_mean
from blobfs.config.kinds import FilePath
from blobfs.config.layers import Given, GivenShare, Layer, Mistake, Origin

_OPTION = re.compile(r'(?:[^,\\"]|\\.|"[^"]*"|["\\])+', re.DOTALL)
_ESCAPED = re.compile(r'\\([\\,"])|"([^"]*)"', re.DOTALL)
_GROUPED = re.compile(r"([^=:/]*)=(.*)", re.DOTALL)

SHARE_OPTIONS = {"share": False, "plain_share": True}
"""How a share is added, and whether it is plain then."""

_FSTAB_ONLY = frozenset(
    ["defaults", "rw", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail", "_netdev"]
)
_FSTAB_PREFIXES = ("x-", "X-", "comment=", "user=", "helper=", "uhelper=")

_LIBFUSE = frozenset(
    [
        *(
            "allow_root",
            "auto_unmount",
            "blkdev",
            "debug",
            "default_permissions",
            "fsname",
            "max_read",
            "subtype",
        ),
        *("async", "sync", "dirsync", "dev", "nodev", "suid", "nosuid", "exec", "noexec"),
        *(
            "atime",
            "noatime",
            "diratime",
            "nodiratime",
            "relatime",
            "norelatime",
            "strictatime",
            "nostrictatime",
        ),
        *("symfollow", "nosymfollow", "context", "fscontext", "defcontext", "rootcontext"),
    ]
)
"""What libfuse 3 takes with ``-o``."""


def read_options(options: Iterable[str], directory: Path) -> Layer:
    """What stands after each ``-o``; paths are below `directory`."""
    typed, rest = _Typed(directory), []
    for text in (_ESCAPED.sub(r"\1\2", found) for group in options for found in _OPTION.findall(group)):
        name, _, value = text.partition("=")
        origin = Origin(f"-o {_short(text)}")
        if text in _FSTAB_ONLY or text.startswith(_FSTAB_PREFIXES):
            continue
        if name in SHARE_OPTIONS:
            typed.add_share(value, origin, is_plain=SHARE_OPTIONS[name])
        elif text == "ro":
            typed.layer.values["read_only"] = Given(True, origin)
        elif name in OPTIONS:
            typed.add(OPTIONS[name], value, origin)
        elif (problem := fuse_option_problem(text)) is None:
            rest.append(text)
        else:
            typed.refuse(origin, problem)
    if rest:
        typed.layer.values["fuse_options"] = Given(tuple(rest), Origin("-o"))
    return typed.layer


def fuse_option_problem(text: str) -> str | None:
    """What is wrong with a mount option that is to be passed on."""
    name = text.partition("=")[0]
    if name in _LIBFUSE:
        return None
    if "," in text:
        return "expected one option, found several"
    return f"unknown{did_you_mean(name, [*OPTIONS, *SHARE_OPTIONS, 'ro', *_LIBFUSE])}"


def read_flags(flags: Mapping[str, Any], directory: Path) -> Layer:
    """What each flag was given, by the name of its option; None and an empty list is not given."""
    typed = _Typed(directory)
    for name, given in flags.items():
        if given is None:
            continue
        if name in SHARE_OPTIONS:
            for text in given:
                origin = Origin(" ".join([_flag(name), *map(_short, text.split()[:1])]))
                typed.add_share(text, origin, is_plain=SHARE_OPTIONS[name])
        else:
            text = ("no", "yes")[given] if isinstance(given, bool) else str(given)
            typed.add(OPTIONS[name], text, Origin(_flag(name)))
    return typed.layer


class _Typed:
    """Fills a layer with what is read from texts."""

    def __init__(self, directory: Path) -> None:
        self.layer = Layer()
        self._directory = directory

    def refuse(self, origin: Origin, problem: str) -> None:
        self.layer.mistakes.append(Mistake(origin, problem))

    def add(self, setting: Setting, text: str, origin: Origin) -> None:
        try:
            self.layer.values[setting.key] = Given(self._value(setting, text), origin)
        except ValueError as refused:
            self.refuse(origin, str(refused))
            self.layer.wrong.add(setting.key)

    def add_share(self, text: str, origin: Origin, *, is_plain: bool) -> None:
        """``URL`` or ``GROUP=URL``, and behind it, with spaces between, what else is set for the share."""
        words = text.split() or [""]
        grouped = _GROUPED.fullmatch(words[0])
        if grouped is not None:
            words[0:1] = [grouped[2], f"group={grouped[1]}"]
        if is_plain:
            words.append("plain")
        values, wrong = {"url": Given(words[0], origin)}, set()
        for word in words[1:]:
            name, _, value = word.partition("=")
            if name not in SHARE_CATALOGUE or name == "url":
                known = [name for name in SHARE_CATALOGUE if name != "url"]
                self.refuse(origin, f"{_short(name)}: unknown for a share{did_you_mean(name, known)}")
                continue
            try:
                values[name] = Given(self._value(SHARE_CATALOGUE[name], value), origin)
            except ValueError as refused:
                self.refuse(origin, f"{name}: {refused}")
                wrong.add(name)
        self.layer.shares.append(GivenShare(origin, values, wrong))

    def _value(self, setting: Setting, text: str) -> Any:
        value = setting.kind.from_text(text)
        return setting.kind.anchored(value, self._directory) if isinstance(setting.kind, FilePath) else value


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"


def _short(text: str) -> str:
    text = shown_of_refused(text)
    return text if len(text) <= 60 else f"{text[:57]}..."
