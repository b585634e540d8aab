"""A scripted server for each test of the share client."""

from collections.abc import AsyncIterator

import pytest

from tests.servers.scripted import ScriptedServer, scripted_server


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedServer]:
    async with scripted_server() as server:
        yield server
