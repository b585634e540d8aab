"""docs/monitoring: the reference of the metrics, the dashboard and the alerts, held against what there is.

``python -m tests.test_monitoring > docs/monitoring/metrics.md`` writes the reference.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blobfs.control.metric_table import BY_NAME, METRICS, PREFIX, MetricKind
from tests.structure import ROOT

PAGES = ROOT / "docs" / "monitoring"
PROMTOOL_SECONDS = 30

INTRODUCTION = """\
# What is measured

`GET /metrics` on the control socket, and on `[control] listen` if that is set:

```
curl -s --unix-socket STORE/control http://localhost/metrics
curl -s http://127.0.0.1:8971/metrics
```

The answer is OpenMetrics text for who asks for it (`Accept: application/openmetrics-text`, as Prometheus
does), and Prometheus' older text format else. Nothing runs for it between two questions.

* All counts are since the daemon's start. A reload changes none of them, also where a share is made anew.
* What is not known is left out: a quota where there is none, the kernel's queue without fusectl or for a user
  who may not read it, a share's speed before its first body.
* `share` is the share's URL without credentials. `operation` is a kind of FUSE request, `errno` the name of
  what the caller got, `phase` what was asked of a share, `kind` how that failed: the words of `blobfs why`.
* A histogram's boxes go from 50 µs to 30 s for operations, from 1 ms to 100 s for the channel.
* `process_resident_memory_bytes`, `process_virtual_memory_bytes`, `process_cpu_seconds_total`,
  `process_open_fds`, `process_max_fds` and `process_start_time_seconds` are the daemon's own, under their
  usual names.
* No label is a file's name or a blob's id: their number has no bound.
"""


def reference() -> str:
    """The page, from the table."""
    parts = [INTRODUCTION]
    for title, metrics in METRICS.items():
        parts.append(f"\n## {title}\n\n| name | kind | labels | |\n|---|---|---|---|\n")
        for metric in metrics:
            labels = ", ".join(f"`{label}`" for label in metric.labels)
            parts.append(f"| `{metric.shown}` | {metric.kind} | {labels} | {metric.help} |\n")
    return "".join(parts)


def known_names() -> set[str]:
    """As queries name them."""
    names = {"up", "vector"}
    for metric in BY_NAME.values():
        if metric.kind is MetricKind.HISTOGRAM:
            names |= {f"{metric.shown}_{part}" for part in ("bucket", "sum", "count")}
        else:
            names.add(metric.shown)
    return names | {
        f"process_{name}"
        for name in ("resident_memory_bytes", "cpu_seconds_total", "open_fds", "start_time_seconds")
    }


def unknown_in(expression: str) -> set[str]:
    """Names that no node shows."""
    named = set(re.findall(rf"\b(?:{PREFIX}|process_)\w+", expression))
    assert named or re.search(r"\bup\b", expression), expression
    return named - known_names()


def labels_in(expression: str) -> Iterator[tuple[str, str]]:
    """Each metric with each label that it is selected by."""
    for name, selector in re.findall(r"\b(\w+)\{([^}]*)\}", expression):
        yield from ((name, label) for label in re.findall(r"(\w+)\s*=~?", selector))


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((PAGES / "dashboard.json").read_text("utf-8"))
    return found


def dashboard_expressions() -> list[str]:
    """Of all panels, with Grafana's variables filled in."""
    found = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())]
    found += [each["expr"] for each in dashboard()["annotations"]["list"]]
    return [
        re.sub(r"\$\w+", ".*", expression.replace("$__rate_interval", "5m")).replace("[.*", "[5m")
        for expression in found
    ]


def promtool(*arguments: str | Path) -> str:
    """What it says; it fails the test when it finds something."""
    done = subprocess.run(
        ["promtool", *arguments],
        capture_output=True,
        text=True,
        timeout=PROMTOOL_SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_reference_is_the_table() -> None:
    """docs/monitoring/metrics.md shows what the code shows, word for word."""
    assert (PAGES / "metrics.md").read_text("utf-8") == reference()


@pytest.mark.parametrize("file", ["alerts.yml", "dashboard.json"])
def test_every_query_asks_for_what_there_is(file: str) -> None:
    """A metric that was renamed, or a label that it has not, would be a panel or an alert that is silent."""
    text = (PAGES / file).read_text("utf-8")
    expressions = re.findall(r"expr: (\|\n(?: {10}.*\n)+|.*)", text) if file == "alerts.yml" else []
    expressions = expressions or dashboard_expressions()
    assert len(expressions) >= 16
    for expression in expressions:
        assert unknown_in(expression) == set()
        for name, label in labels_in(expression):
            base = re.sub(r"_(bucket|sum|count)\Z", "", name.removeprefix(PREFIX))
            labels = BY_NAME[base].labels if base in BY_NAME else ()
            assert label in (*labels, "job", "instance"), expression


def test_every_alert_says_what_to_do() -> None:
    """Whoever is woken by it gets one line of what it is, and one of what helps."""
    text = (PAGES / "alerts.yml").read_text("utf-8")
    alerts = text.split("- alert: ")[1:]
    assert len(alerts) == 16
    for alert in alerts:
        for needed in ("severity: ", "summary: ", "remedy: "):
            assert needed in alert, alert


def test_the_alerts_fire_when_they_should() -> None:
    """As Prometheus reads them: every one is tried, with a case in which it is silent."""
    assert "16 rules found" in promtool("check", "rules", PAGES / "alerts.yml")
    promtool("test", "rules", PAGES / "alerts_test.yml")
    tried = set(re.findall(r"alertname: (\w+)", (PAGES / "alerts_test.yml").read_text("utf-8")))
    assert tried == set(re.findall(r"alert: (\w+)", (PAGES / "alerts.yml").read_text("utf-8")))


def test_the_example_is_a_configuration() -> None:
    """prometheus.yml, with the alerts beside it, is one that Prometheus takes."""
    assert "1 rule files found" in promtool("check", "config", PAGES / "prometheus.yml")


def test_prometheus_understands_the_dashboard(tmp_path: Path) -> None:
    """Every expression of it, as Grafana would send it."""
    rules = [
        {"record": f"panel:expression:{number}", "expr": expression}
        for number, expression in enumerate(dashboard_expressions())
    ]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", tmp_path / "rules.yml")


def test_the_dashboard_can_be_imported() -> None:
    """It asks for the source of its figures, its panels have ids of their own and lie beside each other."""
    found = dashboard()
    assert [variable["name"] for variable in found["templating"]["list"]] == ["datasource", "job", "instance"]
    panels = found["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        mine = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not mine & cells, panel["title"]
        assert max(x for x, _ in mine) < 24
        cells |= mine


if __name__ == "__main__":
    print(reference(), end="")
