"""What is there, in the words of the book: everything that a mount shows, read to its end."""

import os
import stat
from pathlib import Path

from tools.crashing.book import Allowed
from tools.crashing.contents import word_of
from tools.crashing.program import DIRECTORY, FAR

SHARED_MODES = (0o444, 0o555)


def observe(mountpoint: Path) -> dict[str, str]:
    """Every name but those of the other node. Lists, looks and reads as any program does."""
    found: dict[str, str] = {}
    directories = [""]
    for directory in directories:  # grows while it is walked
        for component in os.listdir(mountpoint / directory):
            key = f"{directory}/{component}".lstrip("/")
            if key == FAR:
                continue
            found[key] = _look(mountpoint / key)
            if found[key] == DIRECTORY:
                directories.append(key)
    return found


def _look(path: Path) -> str:
    about = path.lstat()
    if stat.S_ISDIR(about.st_mode):
        return DIRECTORY
    if stat.S_ISLNK(about.st_mode):
        return f"-> {os.readlink(path)}"
    content = path.read_bytes()
    if len(content) != about.st_size:
        return f"{len(content)} bytes in a file of {about.st_size}"
    if stat.S_IMODE(about.st_mode) not in SHARED_MODES:
        return f"a file of mode {about.st_mode:o}"
    return word_of(content)


def differences(here: dict[str, str], there: dict[str, str]) -> list[str]:
    """What another node sees otherwise than this one, in lines."""
    return [
        f"{key} is {here.get(key, 'absent')} on the node, and {there.get(key, 'absent')} on another one"
        for key in sorted({*here, *there})
        if here.get(key) != there.get(key)
    ]


def kind_of(complaint: str, allowed: Allowed) -> str:
    """`lost` where an old value or none is found, `torn` where one that never was."""
    ever = {value for values in allowed.values.values() for value in values}
    value = complaint.partition(" is ")[2].partition(", and should be")[0]
    return "torn" if " bytes " in value and value not in ever else "lost"
