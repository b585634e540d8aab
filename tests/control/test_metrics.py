"""Metrics: the table's names, and what becomes of samples as text."""

import re

import prometheus_client
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_old

from blobfs.control.metric_table import BY_NAME, METRICS, MetricKind, Sample
from blobfs.control.metrics import OPENMETRICS, render
from blobfs.sync.durations import Durations

ROWS = [metric for section in METRICS.values() for metric in section]


def took(*seconds: float) -> Durations:
    durations = Durations((0.1, 1.0))
    for each in seconds:
        durations.add(each)
    return durations


SAMPLES: list[Sample] = [
    ("fuse_operation_duration_seconds", ("read",), took(0.05, 0.1, 0.5, 20.0).statistics()),
    ("fuse_errors_total", ("read", "EIO"), 2),
    ("fuse_errors_total", ("lookup", "ENOENT"), 7),
    ("build_info", ('0.1 "beta"\\\n',), 1),
    ("store_room_bytes", (), -5),
]


def text(accept: str = "") -> str:
    return render(SAMPLES, accept)[1].decode()


def test_names_follow_the_rules() -> None:
    """Base units at the end of the name, ``_total`` where something only grows, none of them twice."""
    assert len(BY_NAME) == len(ROWS)
    for metric in ROWS:
        assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", metric.name)
        assert metric.name.endswith("_total") == (metric.kind is MetricKind.COUNTER)
        assert not re.search(r"_(ms|kib|mib|minutes|percent|count|sum|bucket)(_|\Z)", metric.name)
        assert metric.kind is not MetricKind.HISTOGRAM or metric.name.endswith("_seconds")
        assert metric.help.endswith(".")


def test_openmetrics() -> None:
    """Who asks for it gets text that OpenMetrics' own parser takes, with its end marked."""
    content_type, body = render(SAMPLES, f"{OPENMETRICS};version=1.0.0;q=0.5,text/plain;q=0.1")
    assert content_type.startswith(f"{OPENMETRICS}; version=1.0.0")
    families = {family.name: family for family in parse_openmetrics(body.decode())}
    assert families["blobfs_fuse_errors"].type == "counter"
    assert families["blobfs_fuse_errors"].documentation == BY_NAME["fuse_errors_total"].help
    assert body.endswith(b"# EOF\n")


def test_the_older_format() -> None:
    """Who does not ask for OpenMetrics gets what every version of Prometheus takes."""
    content_type, body = render(SAMPLES, "*/*")
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    families = {family.name: family for family in parse_old(body.decode())}
    assert {sample.labels["errno"]: sample.value for sample in families["blobfs_fuse_errors"].samples} == {
        "EIO": 2.0,
        "ENOENT": 7.0,
    }
    assert families["blobfs_build_info"].samples[0].labels == {"version": '0.1 "beta"\\\n'}
    assert families["blobfs_store_room_bytes"].samples[0].value == -5


def test_a_histogram_adds_up() -> None:
    """Each box holds those below it as well; the last one all."""
    lines = [line for line in text().splitlines() if line.startswith("blobfs_fuse_operation_duration")]
    assert lines == [
        'blobfs_fuse_operation_duration_seconds_bucket{le="0.1",operation="read"} 2.0',
        'blobfs_fuse_operation_duration_seconds_bucket{le="1.0",operation="read"} 3.0',
        'blobfs_fuse_operation_duration_seconds_bucket{le="+Inf",operation="read"} 4.0',
        'blobfs_fuse_operation_duration_seconds_count{operation="read"} 4.0',
        'blobfs_fuse_operation_duration_seconds_sum{operation="read"} 20.65',
    ]


def test_the_process_itself() -> None:
    """Memory, descriptors and CPU time come with it."""
    shown = {family.name for family in parse_old(text())}
    assert {"process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds"} <= shown


def test_every_metric_is_told_once_and_in_the_tables_order() -> None:
    """However the samples come: a parser refuses what is torn apart."""
    names = [family.name for family in parse_old(text()) if family.name.startswith("blobfs_")]
    assert names == [
        "blobfs_build_info",
        "blobfs_fuse_operation_duration_seconds",
        "blobfs_fuse_errors",
        "blobfs_store_room_bytes",
    ]


def test_what_is_not_in_the_table_is_not_shown() -> None:
    """A sample without a row, or with labels that its row has not, is a defect."""
    with pytest.raises(KeyError):
        render([("nothing", (), 1)], "")
    with pytest.raises(ValueError, match="labels"):
        render([("fuse_errors_total", ("read",), 1)], "")
    with pytest.raises(AssertionError):
        render([("fuse_errors_total", ("read", "EIO"), took(1).statistics())], "")


def test_nothing_is_registered_for_the_whole_program() -> None:
    """A program that has a registry of its own finds nothing of ours in it."""
    text()
    assert not [family.name for family in prometheus_client.REGISTRY.collect() if "blobfs" in family.name]
