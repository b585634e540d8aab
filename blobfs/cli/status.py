"""``blobfs status``: what a running node is doing. Asks its socket, never its mount."""

import json
from collections.abc import Iterator
from typing import Any

import click

from blobfs.cli.targets import find_stores
from blobfs.cli.words import count, duration, size
from blobfs.control.client import fetch_status
from blobfs.errors import BlobfsError


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs: everything there is, as JSON.")
@click.argument("mountpoint", required=False, type=click.Path())
def status(mountpoint: str | None, as_json: bool) -> None:
    """Show what the node on MOUNTPOINT (all of them, if it is not given) is doing."""
    try:
        stores = find_stores(mountpoint)
        found = [fetch_status(store) for _, store in stores]
    except BlobfsError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(found[0] if mountpoint is not None else found, indent=2))
        return
    if not found:
        click.echo("no blobfs is mounted")
    for each in found:
        click.echo("\n".join(describe(each)))


def describe(found: dict[str, Any]) -> Iterator[str]:
    """The node in a few lines, and one or two for each share."""
    operations = {name: number for name, number in found["operations"].items() if name != "errors"}
    loading, failed = found["loading"], found["operations"]["errors"] or "none"
    read_only = ", read-only" if found["read_only"] else ""
    yield f"{found['mountpoint']}  pid {found['pid']}, store {found['store']['path']}{read_only}"
    yield f"  serves    {found['listen'] or 'nothing over HTTP'}"
    yield f"  space     {_space(found['space'])}"
    yield f"  sealing   {found['sealing']['pending']} pending, {found['sealing']['sealed']} sealed"
    yield (
        f"  loading   {count(loading['loads'], 'load')}, {count(loading['in_flight'], 'chunk')} in flight, "
        f"{loading['completed']} completed; {loading['bodies']} bodies at once, {loading['most_bodies']} at "
        f"most; {count(loading['waiting'], 'span')} waiting for a share"
    )
    yield (
        f"  traffic   {size(loading['kept'])} kept, {size(loading['wasted'])} wasted; "
        f"{loading['hedged']} hedged, {loading['moved']} moved, {loading['refused']} refused"
    )
    yield f"  packages  {'; '.join(_packages(found['packages']))}"
    if (scrub := found["scrub"])["rate"]:
        yield (
            f"  verified  {count(scrub['blobs'], 'blob')}, {size(scrub['bytes'])}, "
            f"{count(scrub['rounds'], 'whole round')}; {scrub['wrong']} wrong, {scrub['mended']} of these "
            "loaded again"
        )
    yield f"  requests  {sum(operations.values())} from the kernel, errors {failed}"
    yield f"  runs      {count(found['tasks'], 'task')}, {count(found['threads'], 'thread')}"
    for share in found["shares"]:
        yield f"  share     {share['url']}  {_health(share)}, {_speed(share)}; {_traffic(share)}"
        if trouble := "; ".join(_trouble(share)):
            yield f"            {trouble}"


def _space(space: dict[str, Any]) -> str:
    used = "not measured" if space["used"] is None else f"{size(space['used'])} used"
    quota = "no quota" if space["quota"] is None else f"quota {size(space['quota'])}"
    evicted = f"{space['evicted']} evicted ({size(space['evicted_bytes'])})"
    return (
        f"{used}, {quota}; {size(space['free'])} of {size(space['partition'])} free, "
        f"{size(space['reserve'])} to stay free; {evicted}, {size(space['passed_bytes'])} passed through"
    )


def _packages(packages: dict[str, Any]) -> Iterator[str]:
    transactions, bundles = packages["transactions"], packages["bundles"]
    yield (
        f"{count(transactions['open'], 'transaction')} open, {transactions['completed']} completed, "
        f"{transactions['aborted']} aborted, {transactions['expired']} expired"
    )
    yield (
        f"{size(bundles['bytes'])} in {count(bundles['requests'], 'request')} for bundles, "
        f"{count(bundles['members'], 'blob')} out of them"
    )


def _health(share: dict[str, Any]) -> str:
    return {"closed": "up", "half-open": "may be down still"}.get(share["circuit"], "down")


def _speed(share: dict[str, Any]) -> str:
    latency, rate = share["latency_ms"], share["bytes_per_second"]
    answers = "no latency known" if latency is None else f"answers in {latency:g} ms"
    return answers if rate is None else f"{answers}, {rate / 1e6:.1f} MB/s"


def _traffic(share: dict[str, Any]) -> str:
    asked = ", ".join(f"{number} {phase}" for phase, number in sorted(share["requests"].items())) or "nothing"
    return (
        f"asked for {asked}, {share['in_flight']} under way; {size(share['received'])} received; "
        f"connections {share['idle_connections']} idle, {share['connections_opened']} opened"
    )


def _trouble(share: dict[str, Any]) -> Iterator[str]:
    if share["failures"]:
        kinds = sorted(share["failures"].items())
        yield "failures: " + ", ".join(f"{number} {kind}" for kind, number in kinds)
    if (failure := share["last_failure"]) is not None:
        yield f"the last one {duration(share['failed_ago'])} ago: {failure['detail']} ({failure['phase']})"
    if share["struck_for"] is not None:
        yield f"sent wrong bytes: {share['struck_for']}"
