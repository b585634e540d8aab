"""Verifies names, a directory at a time: records, what stands in the share, log."""

from blobfs.model import ROOT, Name, join
from blobfs.store.names import LocalName, list_components, rewrite_log
from blobfs.store.verify.findings import Done, Findings, Inspection, Kind
from blobfs.store.verify.records import LogState, RecordCheck, Records
from blobfs.store.verify.shared_files import FileCheck


def check_names(inspection: Inspection) -> Findings:
    """All directories, parents before what is in them."""
    waiting = [ROOT]
    while waiting:
        directory = waiting.pop()
        yield from check_directory(inspection, directory)
        path = inspection.store.layout.record(directory)
        below = [component for component in list_components(path) if (path / component).is_dir()]
        waiting += [join(directory, component) for component in sorted(below, reverse=True)]


def check_directory(inspection: Inspection, directory: Name) -> Findings:
    """One of them. The caller holds its lock of the names meanwhile, if there is one."""
    if inspection.store.layout.record(directory).is_dir():
        check = RecordCheck(inspection, directory)
        records = yield from check.run()
        yield from FileCheck(inspection, directory, check).run(records)
        yield from _check_log(inspection, directory, check.log, records)


def _check_log(inspection: Inspection, directory: Name, log: LogState, records: Records) -> Findings:
    """Whether it says what the records say."""
    entries = log.entries.values()
    logged = {entry.component: LocalName(entry.record, entry.loaded) for entry in entries}
    if log.is_sound and logged == records:
        return
    if inspection.mends:
        rewrite_log(inspection.store, directory)
    what = log.trouble or "it does not say what the records say"
    yield inspection.finding(Kind.LOG, inspection.store.layout.log(directory), what, Done.REBUILT)
