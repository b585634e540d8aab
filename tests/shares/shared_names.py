"""What the tests of the share client ask for, and how they ask."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from blobfs.model import Attempt, BlobId, Name
from blobfs.record import BlobRecord, encode_record
from blobfs.shares.address import ShareOptions, parse_share_url
from blobfs.shares.body import ByteStream
from blobfs.shares.client import Share
from blobfs.shares.failure import ShareFailure

BLOB = BlobId("ab" * 32)
BLOB_PATH = f"/.blobfs/blobs/{BLOB}"
TREE_PATH = f"/.blobfs/trees/{BLOB}"
NAME = Name("models/a.gguf")
RECORD_PATH = "/.blobfs/names/models/a.gguf"
RECORD = BlobRecord(BLOB, 300_000, 0o444, 1_700_000_000_000_000_001, 1_700_000_000_000_000_002)
RECORD_TEXT = encode_record(RECORD)
BODY = bytes(range(256)) * 1200
MEMORY_BYTES = 100_000
"""What `read` reads into: less than BODY."""


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[Share]:
    """A share with short time limits: what is fine answers in milliseconds."""
    limits = ShareOptions(parse_share_url(url), connect_timeout=2.0, first_byte_timeout=0.2, idle_timeout=0.2)
    async with Share(replace(limits, **options)) as share:
        yield share


async def attempt_of(question: Awaitable[object]) -> Attempt:
    """The attempt of a question that must fail."""
    with pytest.raises(ShareFailure) as failure:
        await question
    return failure.value.attempt


async def read(stretch: AbstractAsyncContextManager[ByteStream], into: bytearray | None = None) -> bytes:
    """Everything; what came before a failure is in `into`."""
    got = bytearray() if into is None else into
    memory = memoryview(bytearray(MEMORY_BYTES))
    async with stretch as body:
        while count := await body.read_into(memory):
            got += memory[:count]
    return bytes(got)
