"""What was measured, as text for Prometheus: OpenMetrics, or the older format for who does not ask for it.

Nothing is registered with the library and no thread runs: what there is to say is handed in when somebody
asks. The figures of the process itself (``process_*``: memory, descriptors, CPU) are the library's.
Importing the library takes 45 ms, so this module is imported when the first visitor comes.
"""

from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, exposition
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from blobfs.control.metric_table import BY_NAME, Metric, MetricKind, Sample
from blobfs.sync.durations import DurationStatistics

OPENMETRICS = "application/openmetrics-text"

Samples = Iterable[Sample]


def render(samples: Samples, accept: str) -> tuple[str, bytes]:
    """The content type and the text; `accept` is the header of that name."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Measured(samples))
    if OPENMETRICS in accept:
        text: bytes = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]
        return openmetrics.CONTENT_TYPE_LATEST, text
    return exposition.CONTENT_TYPE_PLAIN_0_0_4, exposition.generate_latest(registry)


class _Measured(Collector):
    """Samples as the library wants to have them: by metric, in the table's order."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Family]:
        families: dict[str, Family] = {}
        for name, labels, value in self._samples:
            metric = BY_NAME[name]
            if len(labels) != len(metric.labels):
                raise ValueError(f"{name} has the labels {metric.labels}, not {labels}")
            if name not in families:
                families[name] = _family(metric)
            _add(families[name], labels, value)
        for name in BY_NAME:
            if name in families:
                yield families[name]


def _family(metric: Metric) -> Family:
    match metric.kind:
        case MetricKind.COUNTER:
            return CounterMetricFamily(metric.shown, metric.help, labels=metric.labels)
        case MetricKind.GAUGE:
            return GaugeMetricFamily(metric.shown, metric.help, labels=metric.labels)
        case MetricKind.HISTOGRAM:
            return HistogramMetricFamily(metric.shown, metric.help, labels=metric.labels)


def _add(family: Family, labels: tuple[str, ...], value: float | DurationStatistics) -> None:
    if isinstance(value, DurationStatistics):
        assert isinstance(family, HistogramMetricFamily)
        bounds = [*map(floatToGoString, value.bounds), "+Inf"]
        family.add_metric(labels, list(zip(bounds, accumulate(value.boxes), strict=True)), value.total)
    else:
        assert isinstance(family, CounterMetricFamily | GaugeMetricFamily)
        family.add_metric(labels, value)
