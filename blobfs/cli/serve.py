"""``blobfs serve``: the share server alone, for a store that is mounted without ``--listen`` or not at all.

It only reads the share directory, so it needs no lock and may run beside a mount of the same store.
"""

import logging
from pathlib import Path

import click
import trio

from blobfs.errors import StartRefused
from blobfs.model import Invalid
from blobfs.shares.listening import bind_listener, shown_address
from blobfs.shares.server import serve_share_until_signalled


@click.command()
@click.option(
    "--store", type=click.Path(path_type=Path), required=True, help="The store whose share is served."
)
@click.option("--listen", metavar="HOST:PORT", required=True, help="Where to listen; port 0 is a free one.")
def serve(store: Path, listen: str) -> None:
    """Serve a store's share over HTTP, in the foreground, until SIGTERM or Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    share = store / "share"
    if not share.is_dir():
        raise click.ClickException(f"there is no share to serve at {share}")
    try:
        listener = bind_listener(listen)
    except Invalid as error:
        raise click.BadParameter(str(error), param_hint="--listen") from error
    except StartRefused as error:
        raise click.ClickException(str(error)) from error
    url = f"http://{shown_address(listener)}/"
    trio.run(serve_share_until_signalled, share, listener, lambda: click.echo(f"serving {share} on {url}"))
