"""Raw HTTP/1.1 for tests: the request line goes out as written, and the whole answer comes back."""

from dataclasses import dataclass, field

import trio

ANSWER_SECONDS = 10.0


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


async def connect(address: str) -> trio.SocketStream:
    host, _, port = address.rpartition(":")
    return await trio.open_tcp_stream(host.strip("[]"), int(port))


async def ask(address: str, target: str | bytes, method: str = "GET", **headers: str) -> Reply:
    """One request on its own connection; a header's underscores are dashes."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    raw_target = target.encode("ascii") if isinstance(target, str) else target
    head = "\r\n".join(["", "Host: test", "Connection: close", *lines, "", ""]).encode("ascii")
    with trio.fail_after(ANSWER_SECONDS):
        async with await connect(address) as stream:
            await stream.send_all(method.encode() + b" " + raw_target + b" HTTP/1.1" + head)
            return parse_reply(await read_to_end(stream))


async def read_to_end(stream: trio.abc.ReceiveStream) -> bytes:
    received = bytearray()
    with trio.fail_after(ANSWER_SECONDS):
        async for piece in stream:
            received += piece
    return bytes(received)


def parse_reply(raw: bytes) -> Reply:
    head, blank, body = raw.partition(b"\r\n\r\n")
    assert blank, f"no answer: {raw[:200]!r}"
    status_line, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.split(": ", 1) for line in lines)
    return Reply(int(status_line.split(" ")[1]), {name.lower(): value for name, value in pairs}, body)
