"""The short form with a real mount."""

from pathlib import Path

import pytest

from tests.disk_faults.campaign import Report
from tests.disk_faults.mounted import run_mounted
from tests.disk_faults.plan import Fault


@pytest.mark.timeout(60)
def test_a_mount_on_a_disk_that_fails(tmp_path: Path) -> None:
    """P3, P8: programs are told what the disk says, the status answers, and all recovers."""
    report = Report()
    run_mounted(tmp_path, (Fault.ENOSPC, Fault.EIO), 4, report, lambda row: None)
    assert report.wrong == []
    assert report.points >= 2
