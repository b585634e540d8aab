"""The findings as a page: goals first, then a table a workload, peers as columns."""

from collections.abc import Iterable, Sequence

from tools.benchmarks.report import shown
from tools.comparing.goals import OURS, Row, judge
from tools.comparing.results import Findings, PeerNote, Result, find, ratio

PICTURE = "results.svg"
NONE = "–"


def page(findings: Findings, titles: dict[str, str]) -> str:
    """`titles`: of the workloads, by name, in the order of the page."""
    parts = [
        _head(findings),
        _goals(judge(findings.results)),
        f"![Every peer in every case, as bars]({PICTURE})",
        *(_workload(name, title, findings) for name, title in titles.items()),
        _peers(findings.peers),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(findings: Findings) -> str:
    size = "small and quick: for whether it works, not for its figures" if findings.quick else "full size"
    return (
        "# Beside what people use\n\n"
        "Written by `tools/bench`. All peers had the same content in the same run and took turns. Figures "
        "are medians of the turns, with the least and the most in brackets; in bold, how many times as much "
        "as blobfs a peer takes: the median of the ratios within each turn. "
        "What has no brackets went once.\n\n"
        f"blobfs {findings.blobfs}, {findings.when}, {findings.machine}; turns: {findings.runs}; {size}."
    )


def _goals(rows: Sequence[Row]) -> str:
    lines = ["| goal | wanted | measured | |", "|---|---|---|---|"]
    for row in rows:
        measured = NONE if row.measured is None else f"{shown(row.measured)}{'×' if row.goal.peer else ''}"
        lines.append(f"| {row.goal.text} | {row.goal.wanted} | {measured} | {row.verdict} |")
    met = sum(row.verdict == "met" for row in rows)
    return "\n".join([f"## Goals: {met} of {len(rows)} met", "", *lines])


def _workload(name: str, title: str, findings: Findings) -> str:
    results = [result for result in findings.results if result.workload == name]
    if not results:
        return ""
    peers = _in_order(result.peer for result in results)
    lines = [f"## {title}", "", f"| | {' | '.join(peers)} |", f"|---|{'---|' * len(peers)}"]
    for case, unit in dict.fromkeys((result.case, result.unit) for result in results):
        row = [result for result in results if (result.case, result.unit) == (case, unit)]
        cells = [_cell(find(row, name, case, peer), find(row, name, case, OURS)) for peer in peers]
        lines.append(f"| {case}, {unit} | {' | '.join(cells)} |")
    return "\n".join([*lines, *_failures(results)])


def _in_order(peers: Iterable[str]) -> list[str]:
    """blobfs first; the others as they come."""
    return sorted(dict.fromkeys(peers), key=lambda peer: peer != OURS)


def _cell(result: Result | None, ours: Result | None) -> str:
    if result is None:
        return NONE
    if result.median is None:
        return "failed"
    cell = shown(result.median)
    if len(result.values) > 1:
        cell += f" ({shown(min(result.values))}–{shown(max(result.values))})"
    times = ratio(result, ours)
    if times is not None and result.peer != OURS:
        cell += f" **{shown(times)}×**"
    return f"{cell}, then failed" if result.failure else cell


def _failures(results: Sequence[Result]) -> list[str]:
    failed = [result for result in results if result.failure]
    if not failed:
        return []
    words: dict[tuple[str, str], list[str]] = {}
    for result in failed:
        words.setdefault((result.peer, result.failure.replace("|", "/")), []).append(result.case)
    return ["", *(f"* {peer} failed ({'; '.join(cases)}): {why}" for (peer, why), cases in words.items())]


def _peers(peers: Sequence[PeerNote]) -> str:
    lines = ["## Who was compared", "", "| | version | how |", "|---|---|---|"]
    for peer in peers:
        lines.append(f"| {peer.name} | {peer.version or 'not installed: left out'} | {peer.options} |")
    return "\n".join(lines)
