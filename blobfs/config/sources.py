"""The settings of a node, out of everything that says one.

Flags are stronger than mount options (``-o``), these stronger than the file, and that stronger than what is
usual. That holds for each setting by itself; for the shares, for the whole list of them. Mistakes are told
all at once, those of each source and then what does not go together.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blobfs.config.catalogue import CATALOGUE, DEFAULT_STORE
from blobfs.config.from_file import read_file
from blobfs.config.from_options import read_flags, read_options
from blobfs.config.layers import Given, Merged, Mistake, Origin, merge, refuse
from blobfs.config.rules import find_mistakes
from blobfs.config.settings import (
    ControlSettings,
    LoadSettings,
    NodeSettings,
    ServeSettings,
    ShareSetting,
    SpaceSettings,
)
from blobfs.config.warnings import find_warnings

_log = logging.getLogger(__name__)

_TYPED_BELOW = Path()
"""Where relative paths begin that were typed: in the current directory."""


def read_settings(
    mountpoint: Path | None, file: Path | None, options: Sequence[str], flags: Mapping[str, Any]
) -> NodeSettings:
    """As `read_sources`. What should not be as it is set is logged, a WARNING each."""
    reading = read_sources(mountpoint, file, options, flags)
    reading.log_warnings()
    return reading.settings()


@dataclass(frozen=True, slots=True)
class Reading:
    """What the sources say together; there are no mistakes in it."""

    merged: Merged
    file: Path | None
    warnings: Sequence[Mistake]

    def settings(self) -> NodeSettings:
        """Raises `ConfigRefused` where nothing says where to mount."""
        mountpoint = self.merged.get("mountpoint")
        if mountpoint is None:
            place = Origin(str(self.file or "mountpoint"))
            raise refuse([Mistake(place, "nothing says where to mount: give a mountpoint")])
        return NodeSettings(
            mountpoint=mountpoint,
            store=self.merged.get("store", DEFAULT_STORE),
            shares=tuple(ShareSetting(**_values(share.values)) for share in self.merged.shares),
            load=LoadSettings(**self._section("load")),
            space=SpaceSettings(**self._section("space")),
            serve=ServeSettings(**self._section("serve")),
            control=ControlSettings(**self._section("control")),
            **{key: value for key, value in self._section("").items() if key not in ("mountpoint", "store")},
        )

    def log_warnings(self) -> None:
        for warning in self.warnings:
            _log.warning("%s", warning)

    def _section(self, section: str) -> dict[str, Any]:
        found = ((CATALOGUE[key], given) for key, given in self.merged.values.items())
        return {setting.name: given.value for setting, given in found if setting.section == section}


def read_sources(
    mountpoint: Path | None, file: Path | None, options: Sequence[str], flags: Mapping[str, Any]
) -> Reading:
    """Everything that the sources say. `flags` are by the names that the options have.

    Raises `ConfigRefused`, a line for each mistake in any of them.
    """
    layers = [read_flags(flags, _TYPED_BELOW), read_options(options, _TYPED_BELOW)]
    if file is not None:
        layers.append(read_file(file))
    if mountpoint is not None:
        layers[0].values["mountpoint"] = Given(mountpoint, Origin("mountpoint"))
    merged = merge(layers)
    mistakes = [mistake for layer in layers for mistake in layer.mistakes]
    mistakes += find_mistakes(merged)
    if mistakes:
        raise refuse(mistakes)
    return Reading(merged, file, tuple(find_warnings(merged, file)))


def _values(given: Mapping[str, Given]) -> dict[str, Any]:
    return {name: one.value for name, one in given.items()}
