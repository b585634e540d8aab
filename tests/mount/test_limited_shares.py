"""Real servers that limit their rate: they send in bursts, and that is no failure."""

import random

from tests.mount.conftest import StartNode
from tests.mount.probes import MIB, put
from tests.servers.nginx import Nginx


def test_two_limited_shares_both_bring_their_part(start_node: StartNode) -> None:
    """P5: neither goes down for pausing (a warning in the log would fail this), and little comes twice."""
    content = random.Random(6).randbytes(6 * MIB)
    a = start_node("a")
    put(a, "f", content)
    limit = "limit_rate 400k;"
    with Nginx(a.share, limit) as one, Nginx(a.share, limit) as two:
        b = start_node("b", shares=[one.url, two.url])
        assert b.path("f").read_bytes() == content
        status = b.status()
        sent = [sum(request.body_bytes_sent for request in server.requests()) for server in (one, two)]
    assert min(sent) > MIB
    assert status["loading"]["wasted"] < 2 * MIB
    assert max(share["health"]["failures"] for share in status["shares"]) <= 2
