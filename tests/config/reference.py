"""The tables of docs/configuration.md as they have to be. `python -m tests.config.reference` prints them."""

from collections.abc import Iterable

from blobfs.config.catalogue import CATALOGUE, SECTIONS, SHARE_CATALOGUE, Setting
from blobfs.config.kinds import Bytes, Choice, FilePath, Number, Switch

HEADINGS = {
    "": "At the top",
    "load": "`[load]`",
    "space": "`[space]`",
    "serve": "`[serve]`",
    "control": "`[control]`",
}


def reference() -> str:
    """A table for each section, one for a share."""
    tables = [
        table(heading, (setting for setting in CATALOGUE.values() if setting.section == section))
        for section, heading in HEADINGS.items()
    ]
    return "\n\n".join([*tables, table("`[[share]]`, one for each", SHARE_CATALOGUE.values())]) + "\n"


def table(heading: str, settings: Iterable[Setting]) -> str:
    rows = [
        f"| `{setting.name}` | {values(setting)} | {usual(setting)} | {setting.meaning} |"
        for setting in settings
    ]
    return "\n".join([f"### {heading}", "", "| key | value | usual | |", "|---|---|---|---|", *rows])


def values(setting: Setting) -> str:
    """What it takes, in short."""
    match setting.kind:
        case Number(quantity):
            return str(quantity)
        case Bytes(quantity):
            return "size a second" if quantity.unit == "bytes a second" else "size"
        case Choice(words):
            return ", ".join(f"`{word}`" for word in words)
        case Switch():
            return "`true`, `false`"
        case FilePath(role):
            return "path" if role is None else f"file: {role}"
        case kind:
            return kind.expected.removeprefix("a ")


def usual(setting: Setting) -> str:
    """What it is without being set."""
    if setting.default in (None, ()):
        return ""
    shown = setting.kind.to_toml(setting.default)
    if isinstance(shown, bool):
        return f"`{str(shown).lower()}`"
    return f"`{shown:g}`" if isinstance(shown, float) else f"`{shown}`"


assert HEADINGS.keys() == SECTIONS.keys()

if __name__ == "__main__":
    print(reference())
