"""Everything that is looked at after a crash, in one place for kills and for power cuts."""

import re
import time
from pathlib import Path

from tests.mount.node import BlobfsNode
from tests.servers.nginx import Nginx
from tools.crashing.book import Allowed
from tools.crashing.crash_node import CrashNode
from tools.crashing.observing import differences, kind_of, observe
from tools.crashing.soundness import Soundness
from tools.crashing.totals import Totals
from tools.crashing.transactions import Packer, observe_packages

REST_SECONDS = 30.0
"""Within which records, links and logs agree after a start: the repair may go on behind the mount."""
REST_PAUSE = 0.05
SHOWN = 20
"""Complaints of one crash that are printed."""

Complaint = tuple[str, str]
"""Its kind, and what it says."""


def judge_exported(soundness: Soundness, *, trees: bool = True) -> list[Complaint]:
    """P10, at this moment."""
    return [("torn", complaint) for complaint in soundness.exported(trees=trees)]


def judge_found(
    node: CrashNode, packer: Packer, allowed: Allowed, totals: Totals
) -> tuple[dict[str, str], list[Complaint]]:
    """P2: what is there, and what of it must not be so."""
    found = observe(node.mountpoint) | observe_packages(node.mountpoint, node.store, packer)
    totals.checked += allowed.checked
    totals.crashed_within += len(allowed.values) - allowed.checked
    return found, [(kind_of(text, allowed), text) for text in allowed.complaints(found)]


def judge_rest(soundness: Soundness) -> list[Complaint]:
    """Records, links and logs agree as soon as the node is at rest."""
    end = time.monotonic() + REST_SECONDS
    while complaints := soundness.settled():
        if time.monotonic() > end:
            break
        time.sleep(REST_PAUSE)
    return [("torn", complaint) for complaint in complaints]


def judge_from_elsewhere(
    directory: Path, share: Path, found: dict[str, str], totals: Totals
) -> list[Complaint]:
    """Another node, with nothing in its store, lists everything over HTTP and reads it."""
    totals.other_node += 1
    name = f"other{totals.other_node}"
    with Nginx(share) as nginx, BlobfsNode(directory, name, shares=[nginx.url]) as other:
        there = observe(other.mountpoint)
    here = {key: value for key, value in found.items() if not key.startswith(".")}
    return [("lost", line) for line in differences(here, there)]


def judge_log(node: CrashNode, totals: Totals) -> list[Complaint]:
    """Warnings are counted, with what differs between them left out; errors must not be."""
    errors, warnings = node.troubles()
    totals.warnings.update(_shape(record) for record in warnings)
    return [("other", f"in the log: {error}") for error in errors]


def judge_leftovers(store: Path) -> list[Complaint]:
    """After an end in order nothing of what was being written is left, and nothing was put aside."""
    left = [*(store / "incoming").iterdir(), *(store / "quarantine").iterdir()]
    return [("other", f"left over: {path.relative_to(store)}") for path in left]


def enter(complaints: list[Complaint], totals: Totals, where: str, journal: list[str]) -> None:
    """Counts them, and keeps the first with the journal's tail."""
    if not complaints:
        return
    totals.faults.update(kind for kind, _ in complaints)
    shown = "\n".join(f"  {kind}: {text}" for kind, text in complaints[:SHOWN])
    tail = "\n".join(f"    {line}" for line in journal)
    totals.violations.append(f"{where}:\n{shown}\n  the journal's tail:\n{tail}")


def _shape(record: str) -> str:
    """A record without its time and without ids, numbers and quoted names."""
    text = record.partition("\n")[0].split(" ", 3)[-1]
    text = re.sub(r"'[^']*'|\"[^\"]*\"", "'...'", text)
    return re.sub(r"/\S+|[0-9a-f]{16,}|\d+", "#", text)[:160]
