"""Waiting until what was loaded is in the share."""

from blobfs.sync.loading.load import Load
from blobfs.sync.sealer import Sealer


async def wait_kept(load: Load, sealer: Sealer) -> None:
    """Until a load that is whole is kept, under its names. Raises what keeps it from being kept.

    Loads gather for a while if nobody waits (`sealer.py`). The sealer may not have been given this one yet,
    so whoever gives it to him has to know as well.
    """
    load.is_kept_soon = True
    sealer.hurry()
    await load.kept.wait()
    if load.keep_failure is not None:
        raise load.keep_failure
