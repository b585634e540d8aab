"""The short form of the model test: the same few examples each time (`tools/model` draws others)."""

from pathlib import Path

import pytest

from tests.model.campaign import Extent, run_campaign


@pytest.mark.timeout(110)
def test_one_node_is_what_the_model_says(tmp_path: Path) -> None:
    """P2, P3: whatever programs do to a mount, each call ends as docs/semantics.md says."""
    tally = run_campaign(tmp_path, Extent(examples=15, steps=40))
    assert tally.failure == ""
    assert tally.operations > 150
