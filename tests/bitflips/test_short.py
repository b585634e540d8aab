"""The short form of the campaign: a few dozen flips in a small store (`tools/bitflips` has more)."""

from pathlib import Path

from tests.bitflips.campaign import Extent, run_campaign


def test_flipped_bits_are_found_and_mended(tmp_path: Path):
    """P1: whatever bit of a store is flipped, no reader gets it; verification finds every one that matters,
    and a repair mends all that a share still has."""
    ledger = run_campaign(tmp_path, Extent(flips=60, seed=5, blobs=36, largest=3 << 20))
    assert ledger.failures == []
    assert len(ledger.flips) == 60
    assert len(ledger.found) >= 5
    assert ledger.read["without verify"]["loaded: right"] > 30
    assert ledger.read["after the repair"]["loaded: right"] > 30
