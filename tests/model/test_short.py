"""The short form of the model test: the same few examples each time (`tools/model` draws others)."""

from pathlib import Path

import pytest

from tests.model.campaign import Extent, run_campaign


@pytest.mark.timeout(110)
@pytest.mark.parametrize("nodes", ["a", "ab"])
def test_mounts_are_what_the_model_says(tmp_path: Path, nodes: str) -> None:
    """P2, P3, P4: whatever programs do to one node or two, each call ends as docs/semantics.md says."""
    tally = run_campaign(tmp_path, Extent(examples=8, steps=40, nodes=nodes, shrinking=30))
    assert tally.failure == ""
    assert tally.operations > 50
