"""How often readers found the bytes here, and how often they had to wait for a share."""

from dataclasses import dataclass


@dataclass(eq=False, slots=True)
class Reads:
    """Of all readers of a node. Mutable: both only grow."""

    here: int = 0
    waited: int = 0
    """Also those that were given up."""
