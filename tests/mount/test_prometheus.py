"""A real node, asked by a real Prometheus: every metric there is, with figures that are right."""

import http.client
import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from subprocess import DEVNULL
from typing import Any
from urllib.parse import urlencode

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from blobfs.control.metric_table import BY_NAME, MetricKind
from blobfs.control.metrics import OPENMETRICS
from tests.mount.conftest import StartNode
from tests.mount.node import BlobfsNode
from tests.servers.nginx import free_port
from tests.structure import ROOT

SIZE = 3 << 20
ANSWER_SECONDS = 30.0
Series = dict[str, str]


@pytest.fixture(scope="module")
def control_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, control_port: int) -> Iterator[BlobfsNode]:
    """It has loaded a blob, found no file of another name, and knows a share that is not there."""
    directory = tmp_path_factory.mktemp("prometheus")
    config, dead = directory / "b.toml", f"http://127.0.0.1:{free_port()}/"
    options = ["fill=never", "quota=1G"]
    arguments = [f"--control-listen=127.0.0.1:{control_port}", f"--config={config}"]
    with ExitStack() as nodes:
        a = nodes.enter_context(BlobfsNode(directory, "a", listen=True))
        write_config(config, a.url, dead, group=1)
        b = nodes.enter_context(BlobfsNode(directory, "b", options=options, arguments=arguments))
        b.expect_log("is down: ", perhaps=True)
        a.path("model").write_bytes(bytes(range(256)) * (SIZE // 256))
        a.wait_until_sealed()
        assert len(b.path("model").read_bytes()) == SIZE
        with pytest.raises(FileNotFoundError):
            b.path("nothing").stat()
        b.path("mine").write_bytes(b"mine")
        b.wait_until_sealed()
        yield b


def write_config(path: Path, *shares: str, group: int) -> None:
    tables = [f'[[share]]\nurl = "{share}"\ngroup = {group}\n' for share in shares]
    path.write_text("\n".join(tables))


def ask(port: int, path: str, accept: str = "*/*") -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", path, headers={"Accept": accept})
        answer = connection.getresponse()
        body = answer.read().decode()
        assert answer.status == 200, body
        return body
    finally:
        connection.close()


def scrape(port: int) -> dict[str, list[tuple[Series, float]]]:
    """Every sample, by its name."""
    found: dict[str, list[tuple[Series, float]]] = {}
    for family in parse_openmetrics(ask(port, "/metrics", OPENMETRICS)):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def value(found: dict[str, list[tuple[Series, float]]], name: str, **labels: str) -> float:
    """The one sample that has these labels."""
    (matching,) = [number for series, number in found[name] if labels.items() <= series.items()]
    return matching


def first_share(found: dict[str, list[tuple[Series, float]]]) -> str:
    return found["blobfs_share_up"][0][0]["share"]


def test_every_metric_there_is(node: BlobfsNode, control_port: int) -> None:
    """A node that works shows a figure for each row of the table."""
    node.prolong()
    found = scrape(control_port)
    wanted = {
        f"{metric.shown}_count" if metric.kind is MetricKind.HISTOGRAM else metric.shown
        for metric in BY_NAME.values()
    }
    assert wanted - found.keys() == set()


def test_the_figures_are_right(node: BlobfsNode, control_port: int) -> None:
    """[S122] What has happened, and nothing else: bytes, errors, where reads found them, which share is
    there; no label tells a name or a blob."""
    text = ask(control_port, "/metrics")
    assert "nothing" not in text
    assert "model" not in text.replace(str(node.mountpoint), "")
    assert re.search("[0-9a-f]{64}", text) is None
    found = scrape(control_port)
    here, dead = (series["share"] for series, _ in found["blobfs_share_up"])
    assert value(found, "blobfs_share_up", share=here) == 1
    assert value(found, "blobfs_share_kept_bytes_total", share=here) == SIZE
    assert value(found, "blobfs_load_kept_bytes_total") == SIZE
    assert value(found, "blobfs_share_kept_bytes_total", share=dead) == 0
    assert value(found, "blobfs_share_failures_total", share=dead, kind="connect-refused") >= 1
    assert value(found, "blobfs_fuse_errors_total", operation="lookup", errno="ENOENT") >= 1
    assert value(found, "blobfs_reads_total", source="waited") >= 1
    assert value(found, "blobfs_seals_total") == 1
    assert value(found, "blobfs_store_quota_bytes") == 1 << 30
    assert value(found, "blobfs_store_used_bytes") >= SIZE
    for operation, count in ((series["operation"], n) for series, n in found["blobfs_fuse_operations_total"]):
        assert value(found, "blobfs_fuse_operation_duration_seconds_count", operation=operation) <= count


def test_a_question_moves_nothing(node: BlobfsNode, control_port: int) -> None:
    """[S122] Being asked costs no round trip, no thread's work for the disk, and no request to a share."""
    before, after = scrape(control_port), scrape(control_port)
    for name in ("fuse_operations_total", "thread_hops_total", "share_requests_total", "reads_total"):
        assert before[f"blobfs_{name}"] == after[f"blobfs_{name}"]


def test_a_reload_keeps_the_counts(node: BlobfsNode, control_port: int) -> None:
    """[S122] Every share is made anew, with other options; what was counted of it goes on."""
    before = scrape(control_port)
    write_config(
        node.store.parent / "b.toml", *(each["share"] for each, _ in before["blobfs_share_up"]), group=2
    )
    done = subprocess.run(
        [
            *("curl", "--silent", "--show-error", "--fail", "--request", "POST"),
            *("--unix-socket", node.store / "control", "http://localhost/reload"),
        ],
        capture_output=True,
        timeout=30,
        check=True,
    )
    assert len(json.loads(done.stdout)["changed"]) >= 2
    after = scrape(control_port)
    counters = [metric.shown for metric in BY_NAME.values() if metric.kind is MetricKind.COUNTER]
    for name in counters:
        then = {tuple(sorted(labels.items())): number for labels, number in before.get(name, [])}
        now = {tuple(sorted(labels.items())): number for labels, number in after.get(name, [])}
        assert all(now[labels] >= number for labels, number in then.items()), name
    assert value(after, "blobfs_share_kept_bytes_total", share=first_share(after)) == SIZE


def test_promtool_finds_no_fault(node: BlobfsNode, control_port: int) -> None:
    """Names, types and help are as Prometheus' own linter wants them."""
    text = ask(control_port, "/metrics")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_kernels_queue_is_seen(start_node: StartNode) -> None:
    """Callers that wait for a share that says nothing: the kernel's requests are counted, past the mount."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = free_port()
        node = start_node(
            "c",
            shares=[f"http://127.0.0.1:{silent.getsockname()[1]}/"],
            options=["fill=never", "lookup_timeout=40", "first_byte_timeout=40"],
            arguments=[f"--control-listen=127.0.0.1:{port}"],
        )
        node.expect_log("is down: ", perhaps=True)
        assert value(scrape(port), "blobfs_fuse_kernel_waiting") == 0
        callers = [
            subprocess.Popen(["stat", node.path(f"name-{number}")], stdout=DEVNULL, stderr=DEVNULL)
            for number in range(5)
        ]
        try:
            end = time.monotonic() + ANSWER_SECONDS
            while value(scrape(port), "blobfs_fuse_kernel_waiting") < len(callers):
                assert time.monotonic() < end
                time.sleep(0.02)
            found = scrape(port)
            assert value(found, "blobfs_fuse_kernel_background_limit") == 512
            assert value(found, "blobfs_share_requests_in_flight") >= 1
        finally:
            for caller in callers:
                caller.kill()
                caller.wait(10)


# A real Prometheus


@pytest.fixture(scope="module")
def prometheus(
    node: BlobfsNode, tmp_path_factory: pytest.TempPathFactory, control_port: int
) -> Iterator[int]:
    """The port of one that runs on docs/monitoring, but that it asks this node, and more often."""
    directory, port = tmp_path_factory.mktemp("server"), free_port()
    monitoring = ROOT / "docs/monitoring"
    example = (monitoring / "prometheus.yml").read_text()
    assert example.count("127.0.0.1:8971") == 1
    config = example.replace("127.0.0.1:8971", f"127.0.0.1:{control_port}").replace(": 15s", ": 1s")
    (directory / "prometheus.yml").write_text(config)
    (directory / "alerts.yml").write_bytes((monitoring / "alerts.yml").read_bytes())
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen(
            [
                *(
                    "prometheus",
                    f"--config.file={directory}/prometheus.yml",
                    f"--storage.tsdb.path={directory}",
                ),
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
    try:
        yield port
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(10)
        finally:
            server.kill()
            server.wait()


def api(port: int, path: str, **query: str) -> Any:
    """What Prometheus' API answers; None until it does."""
    try:
        return json.loads(ask(port, f"/api/v1/{path}?{urlencode(query)}"))["data"]
    except (AssertionError, OSError):
        return None


def eventually(port: int, expression: str) -> list[tuple[Series, float]]:
    """The result of a query, once there is one."""
    end = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < end:
        found = api(port, "query", query=expression)
        if found and found["result"]:
            return [(each["metric"], float(each["value"][1])) for each in found["result"]]
        time.sleep(0.05)
    raise AssertionError(f"no result of {expression}: {api(port, 'targets')}")


def test_prometheus_asks_and_answers(node: BlobfsNode, control_port: int, prometheus: int) -> None:
    """Scraped over TCP as the example says; a query afterwards gives what the node says itself."""
    node.prolong()
    ((series, up),) = eventually(prometheus, 'up{job="blobfs"} == 1')
    assert (series["instance"], up) == (f"127.0.0.1:{control_port}", 1)
    ((_, kept),) = eventually(prometheus, "sum(blobfs_share_kept_bytes_total)")
    assert kept == SIZE
    ((_, reads),) = eventually(
        prometheus, 'sum(blobfs_fuse_operation_duration_seconds_count{operation="read"})'
    )
    assert reads == node.operations("read")


def test_the_alerts_are_evaluated(node: BlobfsNode, prometheus: int) -> None:
    """A share that is not there is pending, and no rule fails."""
    assert not node.path("nothing either").exists()
    eventually(prometheus, 'ALERTS{alertname="BlobfsShareDown", alertstate="pending"}')
    (group,) = api(prometheus, "rules")["groups"]
    assert {rule["health"] for rule in group["rules"]} == {"ok"}


def test_the_dashboards_units_are_the_metrics(prometheus: int) -> None:
    """The quantiles that the dashboard draws come out of the histograms."""
    ((_, seconds),) = eventually(
        prometheus,
        "histogram_quantile(0.99, "
        'sum by (le) (blobfs_fuse_operation_duration_seconds_bucket{operation="read"}))',
    )
    assert 0 < seconds <= 30


def test_its_files_are_where_the_page_says() -> None:
    """What docs/monitoring names is there."""
    assert {path.name for path in Path(ROOT / "docs/monitoring").iterdir()} >= {
        "alerts.yml", "alerts_test.yml", "dashboard.json", "metrics.md", "prometheus.yml",
    }  # fmt: skip
