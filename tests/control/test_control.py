"""The control socket: what is asked of a node, and what its client makes of the answers."""

import http.client
import json
import logging
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio

from blobfs import errors
from blobfs.control import load_stream
from blobfs.control.client import fetch_explanation, fetch_status, loading, touch
from blobfs.control.service import ControlApp, ReadingApp
from blobfs.model import BlobId, Invalid, Kind
from blobfs.shares.asgi import serve_asgi
from blobfs.shares.listening import bind_listener
from blobfs.shares.retry_rules import failed_attempt
from blobfs.sync.packages.path_keeping import Touched
from blobfs.sync.packages.path_loading import LoadedPath
from blobfs.sync.packages.progress import Progress


async def why(name: str) -> Mapping[str, Any]:
    if name == "wrong":
        raise Invalid("not a name")
    if name == "broken":
        raise ZeroDivisionError("a defect")
    return {"name": name}


async def load(path: str, progress: Progress) -> LoadedPath:
    """``d/f`` is there; the gate's other side is never reached."""
    if path == "broken":
        raise ZeroDivisionError("a defect")
    if path == "stuck":
        progress.expect(2, 20)
        progress.loaded(1, 5)
        await trio.sleep_forever()
    if path != "d/f":
        attempt = failed_attempt("http://one/", "record", Kind.ABSENT, "HTTP 404")
        raise errors.AbsentEverywhere("no share has it", [attempt])
    return LoadedPath("blob", BlobId("ab" * 32), 1, 1, 20, 1, 5)


async def pin(path: str) -> Touched:
    if path == "broken":
        raise ZeroDivisionError("a defect")
    if path != "d/f":
        raise errors.NameMissing("it is not here")
    return Touched("blob", blobs=1)


APP = ControlApp(lambda: {"pid": 7}, why, load, {"pin": pin})


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
    assert (await asked("/load"))[0] == 405


@pytest.mark.parametrize("query", [b"", b"name=a&name=b", b"other=a", b"name=wrong"])
async def test_wrong_questions(query: bytes) -> None:
    """400, and what is wrong."""
    status, body = await asked("/why", query)
    assert status == 400
    assert body["error"]


# Loading


def call(store: Path, *names: str) -> list[dict[str, Any]]:
    """Every line, as a program reads them."""
    with loading(store, names) as lines:
        return list(lines)


LOADED = {
    "name": "d/f", "state": "done", "kind": "blob", "blob": "ab" * 32,
    "files": 1, "blobs": 1, "bytes": 20, "loaded_blobs": 1, "loaded_bytes": 5,
}  # fmt: skip


async def test_each_name_has_an_end(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What came of it, in the order in which they end; a failure of one is its own."""
    lines = await trio.to_thread.run_sync(call, store, "d/f", "missing", "broken", "d/f")
    ends = {line["name"]: line for line in lines}
    assert len(lines) == len(ends) == 3
    assert ends["d/f"] == LOADED
    assert {key: ends["missing"][key] for key in ("state", "error", "errno")} == {
        "state": "failed", "error": "no share has it", "errno": "ENOENT",
    }  # fmt: skip
    assert ends["missing"]["attempts"][0]["detail"] == "HTTP 404"
    assert (ends["broken"]["state"], ends["broken"]["errno"]) == ("failed", "EIO")
    assert "ZeroDivisionError" in caplog.text


async def test_nothing_to_load(store: Path) -> None:
    """No names, no lines."""
    assert await trio.to_thread.run_sync(call, store) == []


async def test_many_names(store: Path) -> None:
    """More than are loaded at a time."""
    names = [f"missing {number}" for number in range(100)]
    lines = await trio.to_thread.run_sync(call, store, *names)
    assert [line["name"] for line in lines] == names


async def test_progress_is_told_until_the_connection_ends(tmp_path: Path, nursery: trio.Nursery) -> None:
    """Lines about what is under way keep coming; whoever leaves cancels it."""
    cancelled = trio.Event()

    async def watched(path: str, progress: Progress) -> LoadedPath:
        try:
            return await load(path, progress)
        finally:
            if path == "stuck":
                cancelled.set()

    app = ControlApp(dict, why, watched)
    await nursery.start(serve_asgi, app, bind_listener(f"unix:{tmp_path}/control"))

    def look() -> list[dict[str, Any]]:
        with loading(tmp_path, ["stuck", "d/f"]) as lines:
            return [next(lines), next(lines), next(lines)]

    first, second, third = await trio.to_thread.run_sync(look)
    assert first == LOADED
    assert second == third
    assert second == {
        "name": "stuck", "state": "loading", "blobs": 1, "bytes": 5, "total_blobs": 2, "total_bytes": 20,
        "loaded_blobs": 1, "loaded_bytes": 5,
    }  # fmt: skip
    await cancelled.wait()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"[" * 100_000,
        b"[]",
        b"{}",
        b'{"names": "d/f"}',
        b'{"names": [1]}',
        b'{"names": null}',
        b"\xff",
    ],
)
async def test_wrong_orders(store: Path, body: bytes) -> None:
    """400, and what is wrong."""

    def post() -> tuple[int, dict[str, Any]]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(f"{store}/control")
            head = (
                f"POST /load HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            connection.sendall(head.encode() + body)
            answer = http.client.HTTPResponse(connection, method="POST")
            answer.begin()
            return answer.status, json.loads(answer.read())

    status, answer = await trio.to_thread.run_sync(post)
    assert status == 400
    assert answer["error"]


async def test_too_many_names(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound on what is read; the client says what the node said."""
    monkeypatch.setattr(load_stream, "MAX_BODY", 100)
    with pytest.raises(errors.StartRefused, match="more than 100 bytes of names"):
        await trio.to_thread.run_sync(call, store, "x" * 100)


async def test_a_node_that_does_not_answer(tmp_path: Path) -> None:
    """Each way in which it does not is one error."""
    with pytest.raises(errors.StartRefused, match="does not answer"):
        call(tmp_path, "d/f")
    (tmp_path / "store").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/store/control")
        listener.listen()

        def end() -> None:
            connection, _ = listener.accept()
            connection.recv(10_000)
            head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            connection.sendall(head + b'15\r\n{"state": "loading"}\n\r\n')
            connection.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, end)
            with pytest.raises(errors.StartRefused, match="does not answer"):
                await trio.to_thread.run_sync(call, tmp_path / "store", "d/f")


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


async def test_names_are_touched_one_after_the_other(
    tmp_path: Path, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    """What came of each name, in the same order; one that fails keeps nobody from the others."""
    await nursery.start(serve_asgi, APP, bind_listener(f"unix:{tmp_path}/control"))
    found = await trio.to_thread.run_sync(touch, tmp_path, "pin", ["gone", "broken", "d/f"])
    assert found == [
        {"name": "gone", "state": "failed", "error": "it is not here", "errno": "ENOENT"},
        {"name": "broken", "state": "failed", "error": "unexpected; see the log", "errno": "EIO"},
        {"name": "d/f", "state": "done", "kind": "blob", "blobs": 1, "bytes": 0, "kept": {}},
    ]
    assert "ZeroDivisionError: a defect" in caplog.text


async def test_what_is_not_touched_so(tmp_path: Path, nursery: trio.Nursery) -> None:
    """Another word, another method, no list of names."""
    await nursery.start(serve_asgi, APP, bind_listener(f"unix:{tmp_path}/control"))
    assert (await asked("/evict", method="POST"))[0] == 404
    assert (await asked("/pin"))[0] == 405

    def send_nonsense() -> int:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(f"{tmp_path}/control")
            connection.sendall(b"POST /pin HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n[]")
            return int(connection.recv(100).split()[1])

    assert await trio.to_thread.run_sync(send_nonsense) == 400


# What is shown and what is refused


async def metrics(accept: str) -> tuple[str, bytes]:
    return "text/plain; version=0.0.4", f"up 1 {accept}\n".encode()


METERED = ControlApp(
    lambda: {"pid": 7},
    why,
    load,
    {"pin": pin},
    metrics=metrics,
    page=lambda: b"<!doctype html>",
)


async def reply(
    app: Any, path: str, method: str = "GET", host: bytes = b"localhost:8971"
) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers and body of an answer."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b'{"names": []}'}

    path, _, query = path.partition("?")
    scope = {"type": "http", "path": path, "query_string": query.encode(), "method": method}
    await app(scope | {"headers": [(b"host", host), (b"accept", b"any")]}, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


async def test_metrics_and_the_page() -> None:
    """Each as what it is; the page may load nothing from elsewhere; what a node has not is not there."""
    status, headers, body = await reply(METERED, "/metrics")
    assert (status, headers[b"content-type"], body) == (200, b"text/plain; version=0.0.4", b"up 1 any\n")
    status, headers, body = await reply(METERED, "/")
    assert (status, headers[b"content-type"], body) == (200, b"text/html; charset=utf-8", b"<!doctype html>")
    assert headers[b"content-security-policy"].startswith(b"default-src 'none'; ")
    assert (await reply(METERED, "/metrics", "POST"))[0] == 405
    assert (await reply(APP, "/metrics"))[0] == 404


@pytest.mark.parametrize(
    ("path", "method", "expected"),
    [
        ("/status", "GET", 200), ("/status", "HEAD", 200), ("/why?name=f", "GET", 200),
        ("/metrics", "GET", 200), ("/", "GET", 200), ("/nothing", "GET", 404), ("/status", "POST", 403),
        ("/status", "PUT", 403),
        ("/status", "OPTIONS", 403), ("/pin", "GET", 403), ("/pin", "POST", 403), ("/load", "GET", 403),
        ("/load", "POST", 403), ("/reload", "POST", 403), ("/nothing", "DELETE", 403),
    ],
)  # fmt: skip
async def test_where_everybody_may_connect_one_can_only_read(path: str, method: str, expected: int) -> None:
    """GET and HEAD of what only reads; nothing that changes a node, whatever the method."""
    assert (await reply(ReadingApp(METERED), path, method))[0] == expected


async def test_a_web_page_of_another_name_reads_nothing() -> None:
    """A name that somebody else made mean this machine is not answered."""
    app = ReadingApp(METERED, frozenset({"localhost", "127.0.0.1", "::1"}))
    for host in (b"localhost", b"LOCALHOST:80", b"127.0.0.1:8971", b"[::1]:8971", b"[::1]"):
        assert (await reply(app, "/status", host=host))[0] == 200
    for host in (b"evil.example", b"evil.example:8971", b"", b"localhost.evil.example:80"):
        assert (await reply(app, "/status", host=host))[0] == 403


async def test_settings_are_taken_over_or_refused() -> None:
    """What changed is told; a mistake in them is a 400 that says where."""

    async def reload() -> Mapping[str, Any]:
        if refused:
            raise errors.StartRefused("/etc/x.toml:3: load.max_tries: ...")
        return {"changed": ["log_level"], "needs_restart": []}

    refused = False
    app = ControlApp(dict, why, load, reload=reload)
    assert json.loads((await reply(app, "/reload", "POST"))[2])["changed"] == ["log_level"]
    refused = True
    status, _, body = await reply(app, "/reload", "POST")
    assert (status, json.loads(body)) == (400, {"error": "/etc/x.toml:3: load.max_tries: ..."})


async def test_who_changes_something_is_logged(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By uid and pid; who only looks is not."""
    caplog.set_level(logging.INFO)
    await trio.to_thread.run_sync(fetch_status, store)
    assert "asked for" not in caplog.text
    await trio.to_thread.run_sync(touch, store, "pin", ["d/f"])
    assert f"/pin asked for by uid {os.geteuid()} (pid {os.getpid()})" in caplog.text


def test_a_control_socket_that_is_a_link(tmp_path: Path) -> None:
    """Whoever owns the store could have root talk to a socket that is for root alone: nobody is asked."""
    with bind_listener(f"unix:{tmp_path}/roots"):
        (tmp_path / "control").symlink_to("roots")
        with pytest.raises(errors.StartRefused, match="does not answer"):
            fetch_status(tmp_path)
