"""The page as a file: what is in it, and that it is installed along with the modules."""

import re
import tomllib

from blobfs.control.page import render_page
from tests.structure import ROOT


def test_it_needs_nothing_from_elsewhere() -> None:
    """Nothing is loaded from another address; the only ones in it are names of formats."""
    addresses = set(re.findall(r"https?://[^\s'\"]+", render_page().decode()))
    assert addresses == {"http://www.w3.org/2000/svg"}
    assert not re.search(rb"<(script|link|img|iframe)[^>]*\ssrc=", render_page())


def test_it_is_installed() -> None:
    """Every file beside the modules is listed as the package's own, or it would not be in a wheel."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(project["tool"]["setuptools"]["package-data"]["blobfs"])
    beside = {
        str(path.relative_to(ROOT / "blobfs"))
        for path in (ROOT / "blobfs").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert beside == listed
