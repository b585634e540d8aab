"""The short form of the campaign: some hundred loads, in less than a minute (`tools/faults` has more)."""

from pathlib import Path

import pytest

from tests.faults.campaign import Extent, run_campaign


@pytest.mark.timeout(110)
def test_loads_from_shares_that_misbehave(tmp_path: Path):
    """P1, P3, P5, P8: whatever three shares do, readers get the right bytes or an errno of a load in time,
    the daemon lives, and nothing is left over."""
    ledger = run_campaign(tmp_path, Extent(loads=200, seed=1, blobs=300, warm=20, life=200))
    assert ledger.failures == []
    assert ledger.done >= 200
    assert ledger.words["by name", "right"] > 50
