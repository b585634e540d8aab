"""The short form of the campaign: a point here and there (`tools/disk-faults` has all of them)."""

import pytest

from tests.disk_faults.campaign import run_campaign
from tests.disk_faults.plan import Fault
from tests.disk_faults.scenarios import SCENARIOS

EVERY = 61
"""Operations from one that fails to the next; a prime, so that each kind of failure hits other ones."""


@pytest.mark.timeout(60)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_operation_may_fail(scenario: str) -> None:
    """P2, P3, P8, P10: whatever the disk refuses, its caller is told, nothing that was promised is lost, the
    share holds only what may be in it, and when the disk works again so does the node, without a restart."""
    report = run_campaign(tuple(Fault), EVERY, [scenario])
    assert report.wrong == []
    assert report.points >= 10
    assert {"EIO", "ENOSPC"} <= {word for row in report.rows for word in row.ended}
