"""The configuration file: TOML, every mistake with its line.

At the top level stand the fields of `NodeSettings`, in ``[load]``, ``[space]``, ``[serve]`` and ``[control]``
those of their settings, and in a ``[[share]]`` each those of one share. Relative paths are below the file's
directory.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blobfs.config.catalogue import CATALOGUE, SECTIONS, SHARE, SHARE_CATALOGUE, Setting
from blobfs.config.from_options import fuse_option_problem
from blobfs.config.guessing import did_you_mean
from blobfs.config.kinds import FilePath, shown
from blobfs.config.layers import Given, GivenShare, Layer, Mistake, Origin, refuse
from blobfs.config.toml_lines import Place, find_lines
from blobfs.errors import ConfigRefused

MAX_SIZE = 1 << 20
"""Bytes. A thousand shares with all that can be set for them are less."""

_PLACE = re.compile(r"(?<= \(at )(?:line (\d+), (?=column)|(?=end of document))")
_SECRETS = {"token": "token_file", "password": "password_file"}


def read_file(path: Path) -> Layer:
    """What the file says. Raises `ConfigRefused` for what is no TOML at all."""
    text = _read_text(path)
    try:
        document = tomllib.loads(text)
        lines = find_lines(text)
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        line = int((place and place[1]) or text.count("\n") + 1)
        raise refuse([Mistake(Origin(str(path), line), f"not TOML: {_PLACE.sub('', str(error))}")]) from None
    except RecursionError:
        raise ConfigRefused(f"{path}: not a configuration: nested too deep") from None
    reader = _Reader(path, lines)
    reader.read_document(document)
    return reader.layer


def _read_text(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_SIZE + 1)
        if len(content) > MAX_SIZE:
            raise ConfigRefused(f"{path}: not a configuration: more than {MAX_SIZE} bytes")
        return content.decode()
    except OSError as error:
        raise ConfigRefused(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise refuse([Mistake(Origin(str(path), line), "not TOML: not UTF-8")]) from None


class _Reader:
    """Fills a layer from a document."""

    def __init__(self, path: Path, lines: Mapping[Place, int]) -> None:
        self.layer = Layer()
        self._path = path
        self._directory = path.absolute().parent
        self._lines = lines

    def read_document(self, document: Mapping[str, Any]) -> None:
        for name, found in document.items():
            if name == SHARE:
                self._read_shares(found)
            elif name not in SECTIONS:
                self._read_node_value((name,), found)
            elif isinstance(found, dict):
                for key, value in found.items():
                    self._read_node_value((name, key), value)
            else:
                self._refuse((name,), f"expected a table, [{name}], found {shown(found)}")

    def _read_shares(self, found: Any) -> None:
        if not isinstance(found, list) or not all(isinstance(share, dict) for share in found):
            self._refuse((SHARE,), "expected a table for each share, below a [[share]] of its own")
            return
        for number, share in enumerate(found):
            values: dict[str, Given] = {}
            wrong: set[str] = set()
            for key, value in share.items():
                self._read_value((SHARE, number, key), SHARE_CATALOGUE.get(key), value, values, wrong)
            if "url" not in share:
                self._refuse((SHARE, number), "expected its url, there is none")
            self.layer.shares.append(GivenShare(self._origin((SHARE, number)), values, wrong))

    def _read_node_value(self, place: tuple[str, ...], found: Any) -> None:
        setting = CATALOGUE.get(".".join(place))
        self._read_value(place, setting, found, self.layer.values, self.layer.wrong)

    def _read_value(
        self,
        place: Place,
        setting: Setting | None,
        found: Any,
        values: dict[str, Given],
        wrong: set[str],
    ) -> None:
        if setting is None:
            self._refuse(place, _unknown(place))
            return
        name = setting.name if setting.section == SHARE else setting.key
        try:
            value = setting.kind.from_toml(found)
        except ValueError as refused:
            self._refuse(place, str(refused))
            wrong.add(name)
            return
        if isinstance(setting.kind, FilePath):
            value = setting.kind.anchored(value, self._directory)
        for option in value if setting.key == "fuse_options" else ():
            if (problem := fuse_option_problem(option)) is not None:
                self._refuse(place, f"{shown(option)}: {problem}")
        values[name] = Given(value, self._origin(place))

    def _origin(self, place: Place) -> Origin:
        line = next(
            self._lines[place[:end]] for end in range(len(place), -1, -1) if place[:end] in self._lines
        )
        key = ".".join(_key(part) for part in place if isinstance(part, str))
        return Origin(str(self._path), line, key)

    def _refuse(self, place: Place, problem: str) -> None:
        self.layer.mistakes.append(Mistake(self._origin(place), problem))


def _key(part: str) -> str:
    """As it stands in the file."""
    return part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else shown(part)


def _unknown(place: Place) -> str:
    """What is said of a key that is none: where it belongs, or what may be meant."""
    section, name = (str(place[0]), str(place[-1])) if len(place) > 1 else ("", str(place[0]))
    if name in ("shares", "plain_share", "plain_shares") and not section:
        return "unknown; each share is a table of its own, [[share]], with its url"
    known = _names(section)
    if _SECRETS.get(name) in known:
        return f"unknown; a secret stands in a file of its own: {_SECRETS[name]}"
    guess = did_you_mean(name, [*known, *filter(None, SECTIONS), SHARE] if not section else known)
    elsewhere = [other for other in (*SECTIONS, SHARE) if other != section and name in _names(other)]
    if guess or not elsewhere:
        return f"unknown{guess}" if guess else f"unknown; known here: {', '.join(known)}"
    places = [_heading(other) for other in elsewhere]
    return f"unknown here; it stands {' or '.join(places)}"


def _names(section: str) -> list[str]:
    if section == SHARE:
        return list(SHARE_CATALOGUE)
    return [setting.name for setting in CATALOGUE.values() if setting.section == section]


def _heading(section: str) -> str:
    if section == SHARE:
        return "in a [[share]]"
    return f"in [{section}]" if section else "at the top, before the first table"
