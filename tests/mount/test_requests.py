"""docs/semantics.md, "Running as a service": a call's id ties what it caused together."""

import errno
import json
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio

from blobfs.record import BlobRecord, encode_record
from tests.mount.conftest import StartNode
from tests.mount.probes import attribute, errno_of
from tests.servers.scripted import ok, scripted_server, status

NAME = "model"
BLOB = "ab" * 32


async def in_thread(call: Callable[[], object]) -> object:
    """The share is served by this process's loop, which a call that waits for it must not hold up."""
    return await trio.to_thread.run_sync(call)


async def test_a_failure_and_its_attempts(start_node: StartNode):
    """[S119] Attempts, log, shares and the list of failures call a reader's request by the same id."""
    record = encode_record(BlobRecord(BLOB, 1000, 0o444, 0, 0))  # type: ignore[arg-type]
    async with scripted_server() as share:
        share.route(f"/.blobfs/names/{NAME}", ok(record))
        share.route(f"/.blobfs/blobs/{BLOB}", status(500))
        options = ["fill=never", "max_tries=2", "retry_timeout=0.01"]
        start = partial(start_node, "b", shares=[share.url], options=options, arguments=["--log-level=debug"])
        b = await trio.to_thread.run_sync(start)
        path = b.path(NAME)
        b.expect_log("no share that may have it", perhaps=True)
        assert await in_thread(lambda: errno_of(path.read_bytes)) == errno.EHOSTUNREACH
        attempts = json.loads(str(await in_thread(lambda: attribute(path, "last_error"))))
        asked = {request.headers["x-request-id"] for request in share.requests if BLOB in request.path}
        (failure,) = [each for each in b.status()["failures"] if each["operation"] == "read"]
    requests = {attempt["request"] for attempt in attempts}
    assert len(attempts) == 2
    assert len(requests) == 1
    assert asked == requests
    (request,) = requests
    assert re.fullmatch("[0-9a-f]{4}-[0-9a-f]+", request)
    assert {attempt["request"] for attempt in failure["attempts"]} == requests
    said = b.log().splitlines()
    lines = [line for line in said if line.endswith(f"[{request}]")]
    assert sum("server-error" in line for line in lines) == 2
    assert any(
        line.endswith(f"[{failure['request']}]") and f"read {NAME}: EHOSTUNREACH" in line for line in said
    )


async def test_names_are_asked_for_by_requests_of_their_own(start_node: StartNode):
    """[S119] Two lookups, two ids; a share that nobody asks for anything is told none."""
    async with scripted_server() as share:
        b = await trio.to_thread.run_sync(partial(start_node, "b", shares=[share.url]))
        for name in ("one", "two"):
            assert not await in_thread(partial(os.path.lexists, b.path(name)))
    ids = {
        Path(request.path).name: request.headers.get("x-request-id")
        for request in share.requests
        if Path(request.path).name in ("one", "two")
    }
    assert None not in ids.values()
    assert len(set(ids.values())) == len(ids) == 2
