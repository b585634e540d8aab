"""Brings the names of one directory in line after an unclean end: records, links in the share, log.

What that means, and what is never removed, is `blobfs.store.verify.names`. Here an operator is told of what
somebody may miss; what a crash leaves behind in the ordinary way is no news.
"""

import logging

from blobfs.model import Name
from blobfs.store.failures import store_errors
from blobfs.store.opening import Store
from blobfs.store.verify.findings import Done, Inspection, Kind
from blobfs.store.verify.names import check_directory
from blobfs.store.verify.records import FROM_COPY

_log = logging.getLogger(__name__)

_TOLD = frozenset({Done.NOTHING, Done.QUARANTINED, Done.LOST})


@store_errors()
def repair_directory(store: Store, directory: Name) -> bool:
    """Whether something was repaired. The caller holds its lock of the names meanwhile."""
    repaired = False
    with store.changes.changing(directory):
        for finding in check_directory(Inspection(store, mends=True, after_crash=True), directory):
            repaired |= finding.done is not Done.NOTHING
            if finding.done in _TOLD or (finding.kind is Kind.RECORD and finding.what != FROM_COPY):
                _log.warning("%s: %s: %s (%s)", finding.kind, finding.path, finding.what, finding.done)
    store.changes.mended(directory)
    return repaired
