"""The control socket: what is asked of a node, and what its client makes of the answers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio

from blobfs import errors
from blobfs.control.client import fetch_explanation, fetch_status
from blobfs.control.service import ControlApp
from blobfs.model import Invalid
from blobfs.shares.asgi import bind_listener, serve_asgi


async def why(name: str) -> Mapping[str, Any]:
    if name == "wrong":
        raise Invalid("not a name")
    if name == "broken":
        raise ZeroDivisionError("a defect")
    return {"name": name}


APP = ControlApp(lambda: {"pid": 7}, why)


async def asked(path: str, query: bytes = b"", method: str = "GET") -> tuple[int, dict[str, Any]]:
    """Status and body of one answer."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await APP({"type": "http", "path": path, "query_string": query, "method": method}, None, send)
    start, body = sent
    assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()
    return start["status"], json.loads(body["body"])


async def test_what_there_is_to_ask() -> None:
    """The status, and why; nothing else, and nothing is changed by asking."""
    assert await asked("/status") == (200, {"pid": 7})
    assert await asked("/why", b"name=d%2Ff") == (200, {"name": "d/f"})
    assert await asked("/why", b"name=") == (200, {"name": ""})
    assert (await asked("/"))[0] == 404
    assert (await asked("/why", b"name=f", "POST"))[0] == 405


@pytest.mark.parametrize("query", [b"", b"name=a&name=b", b"other=a", b"name=wrong"])
async def test_wrong_questions(query: bytes) -> None:
    """400, and what is wrong."""
    status, body = await asked("/why", query)
    assert status == 400
    assert body["error"]


@pytest.fixture
async def store(tmp_path: Path, nursery: trio.Nursery) -> Path:
    """A store whose socket answers."""
    await nursery.start(serve_asgi, APP, bind_listener(f"unix:{tmp_path}/control"))
    return tmp_path


@pytest.mark.parametrize("name", ["d/f", "", "a b+c&name=%2F?#", "ümlaut\n", "\udcff"])
async def test_names_arrive_as_they_are(store: Path, name: str) -> None:
    """Whatever bytes they have."""
    assert await trio.to_thread.run_sync(fetch_explanation, store, name) == {"name": name}


async def test_the_client_says_what_went_wrong(store: Path) -> None:
    """A name that is none, a node that has a defect, a node that is not there: each its error."""
    assert await trio.to_thread.run_sync(fetch_status, store) == {"pid": 7}
    with pytest.raises(errors.InvalidName, match="not a name"):
        await trio.to_thread.run_sync(fetch_explanation, store, "wrong")
    with pytest.raises(errors.StartRefused, match="answer"):
        await trio.to_thread.run_sync(fetch_explanation, store, "broken")
    with pytest.raises(errors.StartRefused, match="does not answer"):
        fetch_status(store / "nowhere")
