"""The campaign: a store is made, bits of it are flipped, and it is read and mended.

1. `verify` tells of every flip that matters.
2. Read through a mount as it is, without `verify` before: every byte that comes is right.
3. `verify --repair` with the share mends all but what only this node had.
4. `verify` again finds nothing but what that cost; every byte read through the mount is right.
"""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bitflips.contents import Contents, LongNode, fill_a, fill_b
from tests.bitflips.flips import Flip, apply, choose, unfound
from tests.structure import ROOT

VERIFY_SECONDS = 300


@dataclass(frozen=True)
class Extent:
    flips: int
    seed: int
    blobs: int
    largest: int


@dataclass
class Ledger:
    """What came of it. `failures` are lines; there should be none."""

    failures: list[str] = field(default_factory=list)
    flips: list[Flip] = field(default_factory=list)
    found: Counter[str] = field(default_factory=Counter)
    """Findings by kind."""
    done: Counter[str] = field(default_factory=Counter)
    """The same after the repair, by what was done."""
    read: dict[str, Counter[str]] = field(default_factory=dict)
    """Files by what reading them gave, without verification and after the repair."""
    left: list[str] = field(default_factory=list)
    """What a second verification still told."""


def run_campaign(directory: Path, extent: Extent, say: Callable[[str], object] = lambda line: None) -> Ledger:
    """Everything stays in `directory`."""
    chance, ledger = random.Random(extent.seed), Ledger()
    with LongNode(directory, "a", listen=True) as a:
        contents = fill_a(a, chance, extent.blobs, extent.largest)
        b = LongNode(directory, "b", shares=[a.url])
        with b:
            fill_b(b, chance, contents, extent.blobs)
        own, in_part = len(contents.own), len(contents.in_part)
        say(f"{len(contents.files)} files, {own} of them B's own, {in_part} loaded in part")
        for line in _verify(b.store)["findings"]:
            ledger.failures.append(f"wrong before anything was flipped: {line}")
        ledger.flips = choose(b.store, chance, extent.flips)
        apply(b.store, ledger.flips)
        again = _copy(b, directory, [a.url])
        _find(b.store, ledger)
        _read_all(again, contents, ledger, "without verify")
        _repair(b.store, a.url, a.store, ledger)
        _read_all(b, contents, ledger, "after the repair")
    return ledger


def _copy(node: LongNode, directory: Path, shares: list[str]) -> LongNode:
    """A node with the same store, links, holes and attributes as they are."""
    copy = LongNode(directory, "copy", shares=shares)
    subprocess.run(["cp", "-a", "--", node.store, copy.store], check=True, timeout=VERIFY_SECONDS)
    return copy


def _verify(store: Path, *options: str) -> dict[str, Any]:
    command = [sys.executable, "-P", "-m", "blobfs", "verify", "--json", *options, str(store)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, timeout=VERIFY_SECONDS, env=environment, check=False)
    assert done.returncode in (0, 1), done.stderr.decode()
    assert not done.stderr, done.stderr.decode()
    report: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == bool(report["left"])
    return report


def _find(store: Path, ledger: Ledger) -> None:
    findings = _verify(store)["findings"]
    ledger.found.update(finding["kind"] for finding in findings)
    ledger.failures += [f"not found: {flip}" for flip in unfound(ledger.flips, findings)]


def _repair(store: Path, url: str, source: Path, ledger: Ledger) -> None:
    """What the share has is mended; the rest is lost, and told once more where a package lacks it."""
    findings = _verify(store, "--repair", f"--share={url}")["findings"]
    ledger.done.update(finding["done"] for finding in findings)
    for finding in findings:
        blob = finding.get("blob")
        if (
            blob is not None
            and finding["done"] != "loaded again"
            and (source / "share/.blobfs/blobs" / blob).exists()
        ):
            ledger.failures.append(f"the share has it, and it is not mended: {finding}")
        is_own = finding.get("name", "").startswith("own/")  # then both record and log were hit, and the blob
        if blob is None and finding["done"] in ("nothing", "lost") and not is_own:
            ledger.failures.append(f"not mended: {finding}")
    lost = {finding.get("blob") for finding in findings if finding["done"] == "lost"}
    for finding in _verify(store)["findings"]:
        ledger.left.append(f"{finding['path']}: {finding['what']}")
        if finding["kind"] != "package" or finding.get("blob") not in lost:
            ledger.failures.append(f"wrong after the repair: {finding}")


def _read_all(node: LongNode, contents: Contents, ledger: Ledger, when: str) -> None:
    """Every file there should be, and every file there is."""
    node.expect_log(".", perhaps=True)
    counts = ledger.read[when] = Counter()
    with node:
        for path, raw in contents.files.items():
            came = _read(node.path(path), raw)
            whose = "own" if path in contents.own else "loaded"
            counts[f"{whose}: {came}"] += 1
            if came == "WRONG" or (came != "right" and whose == "loaded"):
                ledger.failures.append(f"{when}: {path}: {came}")
        for directory, _, names in os.walk(node.mountpoint):
            for name in names:
                path = str(Path(directory, name).relative_to(node.mountpoint))
                if path not in contents.files and not Path(directory, name).is_symlink():
                    ledger.failures.append(f"{when}: there is {path}, which nobody made")


def _read(path: Path, raw: bytes) -> str:
    try:
        return "right" if path.read_bytes() == raw else "WRONG"
    except OSError as failure:
        return os.strerror(failure.errno or 0)
