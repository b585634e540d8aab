"""Who wants to know when a blob is in the store: whichever way it came there."""

from collections.abc import Callable, Iterable

from blobfs.model import BlobId

Told = Callable[[BlobId], None]


class Arrivals:
    """Tells those who expect a blob that it has arrived. `_expected` is changed by them alone."""

    def __init__(self) -> None:
        self._expected: dict[BlobId, list[Told]] = {}

    def __repr__(self) -> str:
        return f"<Arrivals expected={len(self._expected)}>"

    def expect(self, blobs: Iterable[BlobId], told: Told) -> None:
        """`told` is called when one of these arrives, on the event loop; it must not wait. Twice is once."""
        for blob in blobs:
            waiting = self._expected.setdefault(blob, [])
            if told not in waiting:
                waiting.append(told)

    def forget(self, blobs: Iterable[BlobId], told: Told) -> None:
        """Also of what was never expected."""
        for blob in blobs:
            waiting = self._expected.get(blob)
            if waiting is not None and told in waiting:
                waiting.remove(told)
                if not waiting:
                    del self._expected[blob]

    def arrived(self, blob: BlobId) -> None:
        """It is in the store: whole, verified and durable."""
        for told in tuple(self._expected.get(blob, ())):
            told(blob)
