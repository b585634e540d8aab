"""Nodes for the tests. Other processes serve the mounts, so a test may touch them like any program."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.mount.node import BlobfsNode

TEST_SECONDS = 60
"""No test of a mount takes longer."""

StartNode = Callable[..., BlobfsNode]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))


@pytest.fixture
def start_node(tmp_path: Path) -> Iterator[StartNode]:
    """Starts nodes, as `BlobfsNode` takes it, and ends them after the test, the last one first."""
    with ExitStack() as stack:

        def start(name: str = "a", **settings: object) -> BlobfsNode:
            return stack.enter_context(BlobfsNode(tmp_path, name, **settings))  # type: ignore[arg-type]

        yield start


@pytest.fixture
def node(start_node: StartNode) -> BlobfsNode:
    """A node that knows no shares, and serves its own."""
    return start_node(listen=True)


@pytest.fixture
def two_nodes(start_node: StartNode) -> tuple[BlobfsNode, BlobfsNode]:
    """A, which serves its share, and B, which loads from it and serves its own as well."""
    a = start_node("a", listen=True)
    return a, start_node("b", listen=True, shares=[a.url])


@pytest.fixture(scope="module")
def shared_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlobfsNode]:
    """One node for all tests of a module; they work in directories of their own (`place`)."""
    with BlobfsNode(tmp_path_factory.mktemp("shared")) as node:
        yield node


@pytest.fixture
def place(shared_node: BlobfsNode, request: pytest.FixtureRequest) -> Iterator[Path]:
    """An empty directory in a mount, for what does not need a node of its own."""
    shared_node.prolong()
    path = shared_node.path(f"{request.node.name[:100]}")
    path.mkdir()
    yield path
    shared_node.check_log()
