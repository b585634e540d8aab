"""How often the log says that a name could not be looked up. Pure: times are handed in.

`find` over a share that is away asks for thousands of names, and an operator needs to know one of them: the
first after the share's last answer. The others are counted, and kept one by one for ``blobfs why``.
"""

QUIET_SECONDS = 60.0
"""Between two such lines about one share, also when it answers now and then."""


class UnknownNames:
    """Of one share. Mutable: all of it, by `count` and `answered`."""

    def __init__(self) -> None:
        self._is_told = False
        self._quiet_until = 0.0
        self._unsaid = 0

    def count(self, now: float) -> int | None:
        """One more name. None: say nothing; else a line is due, and so many went unsaid before it."""
        if self._is_told or now < self._quiet_until:
            self._unsaid += 1
            return None
        self._is_told, self._quiet_until = True, now + QUIET_SECONDS
        return self.take_unsaid()

    def answered(self) -> None:
        """What fails from now on is another outage."""
        self._is_told = False

    def take_unsaid(self) -> int:
        """How many went unsaid: they are said now."""
        unsaid, self._unsaid = self._unsaid, 0
        return unsaid
