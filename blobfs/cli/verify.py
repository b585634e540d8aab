"""``blobfs verify``: whether what a store holds is right, while no daemon uses it; ``--repair`` mends it.

Exit codes: 0 nothing is wrong, or all of it is mended; 1 something wrong is left; 2 wrong usage.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from blobfs.cli.bars import progress_option, wants_bar
from blobfs.cli.config_flags import parse_share
from blobfs.cli.owner import become_owner
from blobfs.cli.verify_progress import following
from blobfs.cli.words import count, printable, size
from blobfs.errors import BlobfsError
from blobfs.mending import verify_store
from blobfs.store.verify.findings import Finding, Progress


@click.command()
@click.option("--repair", is_flag=True, help="Mend what can be mended; without it nothing is changed.")
@click.option("--share", "shares", multiple=True, metavar="[GROUP=]URL",
              help="With --repair: a share to load from what is wrong here; may be repeated.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="For programs: the whole report, as JSON.")
@progress_option
@click.option("--quiet", is_flag=True, help="No bar and no summary: only what is wrong.")
@click.argument("store", type=click.Path(path_type=Path))
def verify(
    store: Path,
    repair: bool,
    shares: tuple[str, ...],
    as_json: bool,
    progress: bool | None,
    quiet: bool,
) -> None:
    """Hash all that STORE holds, and compare it with what vouches for it.

    No daemon may be using it meanwhile; a daemon verifies its own store with -o scrub_rate=BYTES. Root
    works as the owner of STORE.
    """
    if shares and not repair:
        raise click.UsageError("--share is for --repair")
    logging.getLogger("blobfs").addHandler(logging.NullHandler())  # the report tells everything
    sources = [parse_share(text) for text in shares]
    become_owner(store)
    found = Progress()
    try:
        findings = following(
            found,
            lambda: verify_store(store, repair, sources, found),
            is_shown=wants_bar(progress) and not quiet,
        )
    except BlobfsError as failure:
        raise click.ClickException(str(failure)) from failure
    report = Report(store, repair, found, findings)
    if as_json:
        click.echo(json.dumps(report.fields(), indent=2))
    else:
        for line in report.lines(with_summary=not quiet):
            click.echo(printable(line))
    if report.left:
        raise SystemExit(1)


@dataclass(frozen=True, slots=True)
class Report:
    """What is told in the end."""

    store: Path
    repaired: bool
    progress: Progress
    findings: list[Finding]

    @property
    def left(self) -> int:
        """How much of it is wrong still."""
        return sum(finding.is_left for finding in self.findings)

    def fields(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return {
            "store": str(self.store),
            "repair": self.repaired,
            "bytes": self.progress.bytes_done,
            "counts": self.progress.counts,
            "wrong": len(self.findings),
            "left": self.left,
            "findings": [finding.fields() for finding in self.findings],
        }

    def lines(self, *, with_summary: bool) -> Iterator[str]:
        """One for each finding, and the sum."""
        for finding in self.findings:
            good = f" ({size(finding.good)} of it are right)" if finding.good else ""
            yield f"{finding.kind}  {finding.path}: {finding.what}{good}: {finding.done}"
        if not with_summary:
            return
        counts = self.progress.counts
        seen = ", ".join(count(counts.get(what, 0), what[:-1]) for what in ("blobs", "names", "packages"))
        yield f"verified {size(self.progress.bytes_done)}: {seen}"
        if quarantined := counts.get("in quarantine", 0):
            yield f"in quarantine: {count(quarantined, 'file')}, for you to look at and to remove"
        yield self._sum()

    def _sum(self) -> str:
        if not self.findings:
            return "nothing is wrong"
        kinds = Counter(finding.kind.value for finding in self.findings)
        told = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
        return f"wrong: {told}; left: {self.left or 'nothing'}"
