"""The page that shows a node to people: one file that asks this node's ``/status`` once a second.

It needs nothing from anywhere else, no framework, no font, no network, and changes nothing. What it shows
comes from names and shares, so it is text there and never HTML.
"""

from functools import cache
from importlib.resources import files


@cache
def render_page() -> bytes:
    """HTML. The same for every node: the figures come later."""
    return files("blobfs.control").joinpath("page.html").read_bytes()
