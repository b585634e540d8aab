"""The one exception a share's methods raise."""

from blobfs.model import Attempt


class ShareFailure(Exception):
    """One request to one share gave nothing usable; `attempt` says why, in the words users see.

    Not a `BlobfsError`: one share failing is no failure of the load while another one may have it.
    """

    def __init__(self, attempt: Attempt, retry_after: float | None = None) -> None:
        super().__init__(f"{attempt.share} {attempt.phase}: {attempt.detail}")
        self.attempt = attempt
        self.retry_after = retry_after
        """Seconds the share asked us to stay away, if it said so (BUSY)."""
